"""Records of past runs: a JSON file each, in the store."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.files import read_json, write_json

# Outcomes of runs that came to their end.
FINISHED = ("pushed", "unchanged", "not blessed", "withdrawn")
STARTED = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Step:
    """A stage in a run.

    Attributes:
        name: with its branch, such as `control.extract`.
        status: ran, reused, skipped, helped; in a plan, `would run`.
        seconds: those of this run, so nearly none where it was reused.
        artifact: its directory.
        stats: the artifact's.
        why: it would run.
        bytes: on disk: its files, and activations that it refers to.
        written: of these, its files, which are written again whenever it runs.
    """

    name: str
    status: str
    seconds: float
    artifact: str
    stats: dict[str, Any]
    why: str = ""
    bytes: int = 0
    written: int = 0

    @property
    def row(self) -> dict[str, Any]:
        """What the record of a run keeps of it."""
        ref = "/".join(Path(self.artifact).parts[-2:])
        return {
            "name": self.name,
            "status": self.status,
            "seconds": self.seconds,
            "artifact": ref,
            "bytes": self.bytes,
            "written": self.written,
        }


class Watch:
    """Told of each stage of a run, before and after; does nothing."""

    def before(self, name: str, directory: Path, *, trains: bool) -> None:
        """The stage is about to write into `directory`."""

    def failed(self, name: str, *, trains: bool) -> None:
        """The stage has failed; what it has written is about to be removed."""

    def after(self, steps: list[Step]) -> None:
        """The last of `steps` is done."""

    def end_file(self, name: str) -> Path | None:
        """Where it is, a person wants the stage to end its training; None where nobody can."""
        return None


class RunRecord(BaseModel):
    """What a run was asked for, and what became of it.

    Attributes:
        request: digest of the config and of all that was resolved from outside, but the last
            blessed model.
        baseline: the blessed model it was compared with.
        host: where the process is; of a run on a cluster, nowhere.
        figures: the main one of each target.
        settings: of the config, those that are not as by default.
        outcome: running, pushed, unchanged, not blessed, withdrawn, stopped, or failed; and why.
        pushed: where the model is served; of an unchanged run, since an earlier one.
        stages: those that are done, by `Step.row`.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    recipe: str
    request: str
    serving: str
    baseline: str | None
    started: str
    host: str = Field(default_factory=platform.node)
    process: int = Field(default_factory=os.getpid)
    outcome: str = "running"
    seconds: float = 0.0
    figures: dict[str, float] = {}
    settings: dict[str, Any] = {}
    pushed: str | None = None
    report: str | None = None
    stages: list[dict[str, Any]] = []

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, value: Any) -> Any:
        """One that was written when there was one task alone."""
        if isinstance(value, dict) and value.get("accuracy") is not None:
            return value | {"figures": {"accuracy": value["accuracy"]}}
        return value

    @property
    def finished(self) -> bool:
        return self.outcome in FINISHED

    def age(self) -> float:
        """Seconds since it began."""
        begun = datetime.strptime(self.started, STARTED).replace(tzinfo=UTC)
        return (datetime.now(UTC) - begun).total_seconds()

    def says(self) -> str:
        """The outcome, for people."""
        if self.outcome == "unchanged" and self.pushed:
            return f"unchanged, version {Path(self.pushed).name} is still served"
        return self.became

    @property
    def became(self) -> str:
        """The outcome, which a killed process could not write itself."""
        if self.outcome != "running" or self.host != platform.node():
            return self.outcome
        return "running" if Path(f"/proc/{self.process}").exists() else "killed"

    def folder(self, runs: Path) -> Path:
        """Where the run has more than this record: its events, and what is asked of it."""
        return runs / self.run_id

    @classmethod
    def read(cls, runs: Path, run_id: str) -> Self:
        """OSError or ValueError where it is not there, or damaged."""
        return cls.model_validate(read_json(runs / f"{run_id}.json"))

    def save(self, runs: Path) -> None:
        runs.mkdir(parents=True, exist_ok=True)
        write_json(runs / f"{self.run_id}.json", self.model_dump())


def last_of(records: Iterable[RunRecord], recipe: str) -> dict[str, str]:
    """A stage's name, with its branch → what the newest run of this recipe had of it.

    Args:
        records: the oldest first.
    """
    stages = [stage for r in records if r.recipe == recipe for stage in r.stages]
    return {stage["name"]: stage["artifact"] for stage in stages if stage.get("artifact")}


def past_runs(runs: Path) -> list[RunRecord]:
    """All records, the oldest first; a file that is no record is passed over."""
    found = []
    for path in sorted(runs.glob("*.json")):
        try:
            found.append(RunRecord.model_validate(read_json(path)))
        except (ValidationError, ValueError):
            continue
    return sorted(found, key=lambda record: (record.started, record.run_id))


def new_run_id(recipe: str, started: str) -> str:
    return f"{started.replace(':', '').replace('-', '')}-{recipe}-{uuid.uuid4().hex[:6]}"
