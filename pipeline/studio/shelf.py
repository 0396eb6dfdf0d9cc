"""What the store has of runs, as the studio shows it; read again only where it has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.files import read_json
from pipeline import comparing, side_by_side
from pipeline.events import EVENTS, end_file
from pipeline.records import RunRecord
from pipeline.store import Store
from pipeline.studio.following import Followed, sparkline

# Runs whose events are kept in memory.
_FOLLOWED = 16


class Missing(Exception):
    """There is no such thing in the store; says what."""


class Shelf:
    """The runs of a store.

    What is asked for by threads of a server at the same time is read by one of them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._records: dict[str, tuple[int, RunRecord]] = {}
        self._followed: OrderedDict[str, Followed] = OrderedDict()
        self._sparklines: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def runs(self) -> list[dict[str, Any]]:
        """A row a run, the newest first."""
        with self._lock:
            known = self._read_records()
        rows = [_row(record) for _, record in known.values()]
        return sorted(rows, key=lambda row: (row["started"], row["run_id"]), reverse=True)

    def run(self, run_id: str) -> dict[str, Any]:
        """A run's record and all that its events come to.

        Raises:
            Missing: there is no such run.
        """
        record = self.record(run_id)
        with self._lock:
            followed = self._follow(run_id)
            told = followed.as_json()
        files = {"report": bool(record.report and Path(record.report).is_file())}
        stages = told["stages"] or [dict(stage) for stage in record.stages]
        return {**_row(record), "has": files, **told, "stages": stages}

    def records(self) -> list[RunRecord]:
        """All that can be read, the oldest first."""
        with self._lock:
            known = self._read_records()
        records = [record for _, record in known.values()]
        return sorted(records, key=lambda record: (record.started, record.run_id))

    def sparklines(self, run_ids: list[str]) -> dict[str, list[float]]:
        """The validation loss of each of them, in a few points."""
        found = {}
        for run_id in run_ids:
            if run_id not in self._sparklines:
                finished = self.record(run_id).became != "running"
                with self._lock:
                    points = sparkline(self._follow(run_id))
                if not finished:
                    found[run_id] = points
                    continue
                self._sparklines[run_id] = points
            found[run_id] = self._sparklines[run_id]
        return found

    def record(self, run_id: str) -> RunRecord:
        """What a run was asked for, and what became of it.

        Raises:
            Missing: there is no such run.
        """
        path = self.store.runs / f"{run_id}.json"
        if path.parent != self.store.runs or not _is_name(run_id):
            raise Missing(f"there is no run {run_id!r}")
        try:
            return RunRecord.read(self.store.runs, run_id)
        except (OSError, ValueError):
            raise Missing(f"there is no run {run_id!r}") from None

    def events(self, run_id: str) -> Path:
        """The file that a run tells its events in."""
        return self.record(run_id).folder(self.store.runs) / EVENTS

    def end(self, run_id: str, stage: str) -> None:
        """Have a stage end its training, with the best so far.

        Raises:
            Missing: there is no such run, or it is not at work at that.
        """
        record = self.record(run_id)
        with self._lock:
            stages = self._follow(run_id).stages
        at_work = record.became == "running" and stages.get(stage, {}).get("status") == "running"
        if not at_work:
            raise Missing(f"{run_id} is not at work at {stage!r}")
        end_file(record.folder(self.store.runs), stage).touch()

    def report(self, run_id: str) -> Path:
        """The page of a run that has ended.

        Raises:
            Missing: it has none.
        """
        record = self.record(run_id)
        path = Path(record.report).resolve() if record.report else None
        if path is None or not path.is_file() or not path.is_relative_to(self.store.root.resolve()):
            raise Missing(f"{run_id} has no report")
        return path

    def compared(self, run_ids: list[str]) -> str:
        """A page with runs side by side, each beside the first.

        Raises:
            Missing: there is no such run.
            Mistake: they were asked about other examples.
        """
        first, *others = [self.record(run_id).run_id for run_id in run_ids]
        found = [comparing.compare(self.store, first, other) for other in others]
        return side_by_side.page(self.store, found)

    def _read_records(self) -> dict[str, tuple[int, RunRecord]]:
        """Those whose file is another one than before are read."""
        there = {}
        for path in self.store.runs.glob("*.json"):
            try:
                written = path.stat().st_mtime_ns
                before = self._records.get(path.stem)
                if before is None or before[0] != written:
                    before = (written, RunRecord.model_validate(read_json(path)))
                there[path.stem] = before
            except (OSError, ValueError, ValidationError):
                continue  # Removed just now, or no record.
        self._records = there
        return there

    def _follow(self, run_id: str) -> Followed:
        followed = self._followed.pop(run_id, None) or Followed()
        self._followed[run_id] = followed
        while len(self._followed) > _FOLLOWED:
            self._followed.popitem(last=False)
        try:
            followed.read(self.store.runs / run_id / EVENTS)
        except FileNotFoundError:  # A run of before there were events, or one that is pruned.
            self._followed[run_id] = followed = Followed()
        return followed


def _is_name(text: str) -> bool:
    """Nothing that leads to another folder."""
    return bool(text) and text not in (".", "..") and not {"/", "\\", "\0"} & set(text)


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "recipe": record.recipe,
        "started": record.started,
        "seconds": record.age() if record.became == "running" else record.seconds,
        "outcome": record.became,
        "says": record.says(),
        "figures": record.figures,
        "version": int(Path(record.pushed).name) if record.pushed else None,
        "baseline": record.baseline,
    }
