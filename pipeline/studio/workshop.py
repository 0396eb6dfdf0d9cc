"""The lab of the studio at work: in processes of its own, which no page waits behind."""

from __future__ import annotations

import atexit
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models.mistakes import Mistake
from pipeline.events import EVENTS, end_file
from pipeline.lab.experiment import identity
from pipeline.lab.lab import LAB, Lab, line_of
from pipeline.records import RunRecord, past_runs
from pipeline.store import Store
from pipeline.studio import benches
from pipeline.studio.shelf import Missing

# A run that is started has begun after so many seconds, or has not.
_BEGIN_SECONDS = 60.0
_PROGRAM = Path(__file__).parents[2] / "run_pipeline.py"
# A process that is told to end may take so long.
_LEAVE_SECONDS = 2.0


@dataclass
class _Job:
    """An experiment that takes long, in a process of its own."""

    settings: dict[str, Any]
    process: Any
    there: Connection
    why: str = ""

    @property
    def state(self) -> str:
        """`running`, `done`, `failed` or `stopped`."""
        with contextlib.suppress(EOFError, OSError):
            while self.there.poll():
                self.why = self.there.recv()
        if self.process.is_alive():
            return "running"
        if self.process.exitcode == -signal.SIGTERM and not self.why:
            return "stopped"
        if self.process.exitcode and not self.why:
            self.why = benches.ended(self.process.exitcode)
        return "failed" if self.why else "done"


@dataclass
class _Worker:
    """A process that answers at once, with TensorFlow and the giant in its memory."""

    root: Path
    process: Any = None
    here: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, run_id: str, what: str, *given: Any) -> Any:
        with self.lock:
            if self.process is None or not self.process.is_alive():
                self.process, self.here = benches.start(benches.answer, self.root)
            try:
                self.here.send((run_id, what, given))
                kind, value = self.here.recv()
            except (EOFError, OSError) as error:
                self.process.join()
                raise Mistake(benches.ended(self.process.exitcode)) from error
        if kind == "raised":
            raise value
        return value


class Workshop:
    """The labs of a store's runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker = _Worker(store.root)
        self._jobs: dict[tuple[str, str], _Job] = {}
        atexit.register(self.close)  # Before those that are at work are waited for.

    def about(self, record: RunRecord) -> dict[str, Any]:
        """What a page needs at first: the config, and the experiments that take long."""
        lab = Lab(self._store, record)
        return {
            "recipe": record.recipe,
            "config": lab.config.model_dump(mode="json"),
            "task": sorted({column.task for column in lab.config.columns}),
            "modality": lab.config.data.modality,
            "counts": lab.examples.counts,
            "first": lab.first_block({}),
            "jobs": self.jobs(record.run_id),
        }

    def network(self, record: RunRecord) -> list[dict[str, Any]]:
        """See `Lab.network`."""
        found: list[dict[str, Any]] = self._worker.ask(record.run_id, "network")
        return found

    def batch(self, record: RunRecord) -> dict[str, Any]:
        """See `Lab.batch`."""
        found: dict[str, Any] = self._worker.ask(record.run_id, "batch")
        return found

    def experiments(self, record: RunRecord, against: str) -> list[dict[str, Any]]:
        """Those that were kept, each beside the one called `against`."""
        found: list[dict[str, Any]] = self._worker.ask(record.run_id, "kept", against)
        return found

    def answer(
        self, record: RunRecord, settings: Mapping[str, Any], against: str, *, keep: bool
    ) -> dict[str, Any]:
        """What a change comes to, beside another experiment; or the stage that takes long."""
        given = (dict(settings), against, keep)
        told: dict[str, Any] = self._worker.ask(record.run_id, "answer", *given)
        return told

    def compute(self, record: RunRecord, settings: Mapping[str, Any]) -> str:
        """Begin an experiment that takes long; its name.

        Raises:
            Mistake: the settings will not do; or one is at work already.
        """
        settled = Lab(self._store, record).settled(settings)
        name = identity(settled)
        if busy := [job for job in self._jobs.values() if job.state == "running"]:
            raise Mistake(
                f"the lab must not be at work on another experiment, got {len(busy)} at work: end "
                f"it first"
            )
        path = self.events(record, name)
        path.unlink(missing_ok=True)
        process, here = benches.start(benches.compute, self._store.root, record.run_id, settled)
        self._jobs[record.run_id, name] = _Job(settled, process, here)
        return name

    def jobs(self, run_id: str) -> list[dict[str, Any]]:
        """The experiments of a run that take long, and what became of them."""
        return [
            {"id": name, "settings": job.settings, "state": job.state, "why": job.why}
            for (run, name), job in self._jobs.items()
            if run == run_id
        ]

    def is_at_work(self, run_id: str, name: str) -> bool:
        job = self._jobs.get((run_id, name))
        return job is not None and job.state == "running"

    def events(self, record: RunRecord, name: str) -> Path:
        """The file of what happens in an experiment.

        Raises:
            Missing: no experiment is called so.
        """
        if not name.isalnum():
            raise Missing(f"there is no experiment {name!r}")
        return self._store.root / LAB / record.run_id / name / EVENTS

    def end(self, record: RunRecord, name: str, stage: str) -> None:
        """Have a stage end its training with the best so far; all of it, where none is named.

        Raises:
            Missing: it is not at work.
        """
        if not self.is_at_work(record.run_id, name):
            raise Missing(f"the experiment {name!r} is not at work")
        if stage and stage.replace("_", "").replace(".", "").isalnum():
            end_file(self.events(record, name).parent, stage).touch()
        else:
            self._jobs[record.run_id, name].process.terminate()

    def fork(
        self, record: RunRecord, settings: Mapping[str, Any], *, start: bool
    ) -> dict[str, Any]:
        """Write a recipe of a run with a change, and start it where that is asked for."""
        path, command = Lab(self._store, record).fork(settings)
        began = self._run(path.with_suffix(".log"), command) if start else None
        return {"recipe": str(path), "command": line_of(command), "run_id": began}

    def _run(self, log: Path, command: list[str]) -> str:
        """Start a run, which goes on without the studio; its id, once it has begun."""
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        threading.Thread(target=process.wait, daemon=True).start()  # What has ended is let go.
        until = time.monotonic() + _BEGIN_SECONDS
        while time.monotonic() < until:
            ended = process.poll() is not None
            for record in reversed(past_runs(self._store.runs)):
                if record.process == process.pid and record.age() < 2 * _BEGIN_SECONDS:
                    return record.run_id
            if ended:
                break
            time.sleep(0.2)
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise Mistake(said[-1] if said else f"the run did not begin: see {str(log)!r}")

    def close(self) -> None:
        """End all that is at work, but the runs; who answers takes away what it has written."""
        if self._worker.here is not None:
            self._worker.here.close()
            self._worker.process.join(_LEAVE_SECONDS)
        for process in [self._worker.process, *(job.process for job in self._jobs.values())]:
            if process is not None and process.is_alive():
                process.kill()
                process.join()
