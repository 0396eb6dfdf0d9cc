"""The fourth interpreter of the flow: on all hosts but the first, it helps to train.

What the first host makes is waited for in the store, which all hosts see. A stage that trains is
computed here, too, at the same time: each host has its share of every batch. What comes of it is
the same on all hosts, and thrown away on this one.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from components.job import Job
from pipeline.config import Config
from pipeline.console import Log
from pipeline.flow import Run, flow
from pipeline.graph import needed_for, trace
from pipeline.outside import resolve, resolve_request
from pipeline.processes import do_apart
from pipeline.records import past_runs
from pipeline.runs import execute
from pipeline.runtime import Runtime
from pipeline.stopping import Stopped
from pipeline.store import Absent, Call, Store

P = ParamSpec("P")
A = TypeVar("A")

# How often is looked for what the first host makes, and how long for its run, in seconds.
_PAUSE = 0.5
_PATIENCE = 600.0


class FirstHost:
    """The run of the first host, as its record in the store tells.

    Args:
        recipe: that it runs. Of its runs, those that had ended before this began do not count.
    """

    def __init__(self, store: Store, recipe: str) -> None:
        self._runs, self._recipe = store.runs, recipe
        self._ended = {r.run_id for r in past_runs(self._runs) if r.says() != "running"}
        self._since = time.monotonic()

    def require(self) -> None:
        """`Stopped` where it has ended, or has not begun for a long time."""
        records = [r for r in past_runs(self._runs) if r.recipe == self._recipe]
        mine = [record for record in records if record.run_id not in self._ended]
        if mine and mine[-1].says() != "running":
            raise Stopped(f"the run of the first host has ended: {mine[-1].says()}")
        if not mine and time.monotonic() - self._since > _PATIENCE:
            raise Stopped(
                f"the first host must begin its run in this store within {_PATIENCE:.0f} s, got "
                f"none in {self._runs}"
            )


@dataclass(frozen=True)
class Helper:
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
    helped: list[str] = field(default_factory=list)
    prefix: str = ""

    def under(self, name: str) -> Run:
        return replace(self, prefix=f"{name}.")

    def __call__(
        self, stage: Callable[Concatenate[Job, P], A], *args: P.args, **kwargs: P.kwargs
    ) -> A:
        call = Call.of(stage, args, kwargs)
        name = self.prefix + call.stage
        if name not in self.needed:
            return cast(A, Absent(call.fingerprint))
        trains: bool = stage.trains  # type: ignore[attr-defined]
        artifact: Any = self.store.find(call)
        if artifact is None and trains:
            self._help(name, call, stage, args, kwargs)
        while artifact is None:
            self.first.require()
            time.sleep(_PAUSE)
            artifact = self.store.find(call)
        return cast(A, artifact)

    def _help(
        self,
        name: str,
        call: Call,
        stage: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
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
            )
            for path in (job.directory, job.scratch):
                path.mkdir(exist_ok=True)
            do_apart(self.runtime.work(stage, args, kwargs, job))
        self.helped.append(name)
        self.console.end(name, "helped", time.monotonic() - started, {})


def help_to_train(
    recipe: str, config: Config, runtime: Runtime, store: Store, console: Log
) -> list[str]:
    """Help the first host of several with its run; returns the stages that it was helped with."""
    first = FirstHost(store, recipe)
    with contextlib.redirect_stdout(sys.stderr):  # Keras and TFDS tell of downloads there.
        request = resolve_request(config, download=True)
    outside = resolve(request, runtime, past_runs(store.runs))
    nodes = trace(config)
    trained = [name for name, node in nodes.items() if node.trains]
    needed = {*trained}.union(*(needed_for(name, nodes) for name in trained))
    helper = Helper(store, runtime, console, first, needed)
    try:
        execute(lambda: flow(helper, config, outside), console, helper.helped)
    finally:
        console.stop()
    return helper.helped
