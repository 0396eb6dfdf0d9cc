"""The interpreter of the flow that, on all hosts but the first, helps to train.

What the first host makes is waited for in the store, which all hosts see. A stage that trains is
computed here, too, at the same time: each host has its share of every batch. What comes of it is
the same on all hosts, and thrown away on this one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import read_json, write_json
from components.frozen.activations import Damaged
from components.job import Job
from models.mistakes import Mistake
from pipeline.config import Config
from pipeline.console import Log
from pipeline.flow import flow
from pipeline.interpreters.base import Interpreter, Invocation
from pipeline.interpreters.execute import execute
from pipeline.interpreters.trace import needed_for, trace
from pipeline.outside import resolve, resolve_request
from pipeline.processes import do_apart
from pipeline.records import FINISHED, RunRecord, Step, past_runs
from pipeline.runtime import Runtime
from pipeline.session import Session
from pipeline.stopping import Stopped
from pipeline.store import Absent, Call, Store

# Seconds between two looks, and between two signs of life of the first host; how long its run is
# waited for, and how long its next sign.
_PAUSE, _BEAT = 0.5, 2.0
_PATIENCE, _LOST = 600.0, 60.0


class FirstEnded(Exception):
    """The run of the first host has ended."""

    def __init__(self, outcome: str) -> None:
        super().__init__(f"the run of the first host has ended: {outcome}")
        self.outcome = outcome


@contextlib.contextmanager
def leading(session: Session) -> Iterator[Callable[[Call], None]]:
    """On the first host: give signs of life, which the others see in the store.

    Yields:
        What tells them of a stage to be computed together.
    """
    record = session.store.runs / f"{session.record.run_id}.json"
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT):
            with contextlib.suppress(OSError):
                os.utime(record)

    def announce(call: Call) -> None:
        together = _together(session.store, session.record)
        together.parent.mkdir(exist_ok=True)
        write_json(together, {"fingerprint": call.fingerprint})

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield announce
    finally:
        done.set()
        thread.join()


def _together(store: Store, record: RunRecord) -> Path:
    return store.runs / record.run_id / "together.json"


class FirstHost:
    """The run of the first host, as the others see it in the store.

    Args:
        recipe: that it runs. Of its runs, those that had ended before this began do not count.
    """

    def __init__(self, store: Store, recipe: str) -> None:
        self._store, self._recipe = store, recipe
        self._ended = {r.run_id for r in past_runs(store.runs) if r.says() != "running"}
        self._last = time.monotonic()
        self._beat: tuple[str, float] | None = None
        self._lives = False

    def wait(self) -> RunRecord:
        """Its record, as soon as it is seen to live."""
        while (record := self.look()) is None:
            time.sleep(_PAUSE)
        return record

    def look(self) -> RunRecord | None:
        """Its record; None where it has not been seen to live yet.

        Raises:
            FirstEnded: it is no longer at work.
            Stopped: there has been no sign of it for long.
        """
        records = [r for r in past_runs(self._store.runs) if r.recipe == self._recipe]
        record = next((r for r in reversed(records) if r.run_id not in self._ended), None)
        if record and record.outcome != "running":
            raise FirstEnded(record.outcome)
        now = time.monotonic()
        if record:
            # The times of another machine say nothing; that they change does.
            path = self._store.runs / f"{record.run_id}.json"
            beat = (record.run_id, path.stat().st_mtime)
            known, self._beat = self._beat, beat
            if known and known[0] != beat[0]:
                self._lives = False
            elif known and known != beat:
                self._lives, self._last = True, now
        if now - self._last > (_LOST if self._lives else _PATIENCE):
            raise Stopped(
                f"the first host must give signs of a run of {self._recipe} in "
                f"{self._store.root}, got none for {now - self._last:.0f} s"
            )
        return record if self._lives else None

    def asks_for(self, record: RunRecord, call: Call) -> bool:
        """Whether it is about to compute this call, together with the others."""
        path = _together(self._store, record)
        return path.exists() and bool(read_json(path)["fingerprint"] == call.fingerprint)


@dataclass(frozen=True)
class Helper(Interpreter):
    """Computes the stages that train, and waits for the others.

    Attributes:
        needed: the stages that train, and those whose artifacts they are given.
        helped: the stages that were computed here.
    """

    store: Store
    runtime: Runtime
    console: Log
    first: FirstHost
    needed: set[str]
    helped: list[str]

    def interpret(self, asked: Invocation) -> Any:
        call, name = asked.call, asked.name
        if name not in self.needed:
            return Absent(call.fingerprint)
        trains: bool = asked.stage.trains  # type: ignore[attr-defined]
        helped = False
        artifact: Any = self.store.find(call)
        while artifact is None:
            try:
                record = self.first.look()
            except FirstEnded:
                artifact = self.store.find(call)  # The last thing that it did.
                if artifact is None:
                    raise
                break
            if trains and not helped and record and self.first.asks_for(record, call):
                self._help(asked)
                helped = True
            else:
                time.sleep(_PAUSE)
            artifact = self.store.find(call)
        return artifact

    def _help(self, asked: Invocation) -> None:
        call, name = asked.call, asked.name
        started = time.monotonic()
        self.console.begin(name)
        with tempfile.TemporaryDirectory(prefix="shoulders-") as directory:
            # A phase that was stopped goes on, here as there.
            scratch = Path(directory) / "scratch"
            if self.store.scratch(call).exists():
                shutil.copytree(self.store.scratch(call), scratch)
            job = Job(
                directory=Path(directory) / "artifact",
                activations=self.store.activations,
                scratch=scratch,
                progress=self.console.progress,
                say=self.console.remark,
            )
            for path in (job.directory, job.scratch):
                path.mkdir(exist_ok=True)
            try:
                do_apart(self.runtime.work(asked.stage, asked.args, asked.kwargs, job))
            except (Damaged, Mistake):
                raise
            except Exception:
                self._blame_the_first()
                raise
        self.helped.append(name)
        seconds = round(time.monotonic() - started, 3)
        self.console.end(Step(name, "helped", seconds, "", {}))

    def _blame_the_first(self) -> None:
        """Raise what has become of the first host, where that has ended what was helped with."""
        until = time.monotonic() + _LOST + _BEAT
        while time.monotonic() < until:
            self.first.look()
            time.sleep(_PAUSE)


def help_to_train(
    recipe: str, config: Config, runtime: Runtime, store: Store, console: Log
) -> list[str]:
    """Help the first host of several with its run; returns the stages that it was helped with."""
    first = FirstHost(store, recipe)
    helped: list[str] = []
    try:
        record = first.wait()  # Then what is to be downloaded is there.
        with contextlib.redirect_stdout(sys.stderr):  # Keras and TFDS tell of downloads there.
            request = resolve_request(config, download=True, digests=store.digests)
        if request.digest != record.request:
            raise Mistake(
                "the recipe, the flags and the data must be the same on all hosts, got others than "
                "on the first one"
            )
        outside = resolve(request, runtime, past_runs(store.runs), recipe)
        nodes = trace(config)
        trained = [name for name, node in nodes.items() if node.trains]
        needed = {*trained}.union(*(needed_for(name, nodes) for name in trained))
        helper = Helper(store, runtime, console, first, needed, helped)
        execute(lambda: flow(helper, config, outside), console, helped)
    except FirstEnded as ended:
        if ended.outcome not in FINISHED:
            raise Stopped(str(ended)) from ended
    finally:
        console.stop()
    return helped
