"""A file of events, read while it is written: all that is known of a run, and what is new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Points of the loss of steps, at most: of more, neighbours become their mean.
_POINTS = 4000
_MESSAGES = 2000


def new_lines(path: Path, offset: int, most: int = 1 << 20) -> tuple[list[tuple[int, str]], int]:
    """The whole lines from `offset` on, each with the offset of its end; where to go on.

    Args:
        most: bytes to read, but a line is never cut.

    Raises:
        FileNotFoundError: it is gone.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(most)
        if b"\n" not in content:
            content += file.readline()
    end = content.rfind(b"\n") + 1
    lines, at = [], offset
    for each in content[:end].splitlines(keepends=True):
        at += len(each)
        lines.append((at, each.decode("utf-8", "replace").rstrip("\n")))
    return lines, at


@dataclass
class Phase:
    """A phase of training: its figures by epoch, in columns.

    Attributes:
        stage: of the flow, with its branch.
        steps: how many steps are done → the mean of their loss.
    """

    name: str
    stage: str
    stopping: dict[str, Any] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    figures: dict[str, list[float | None]] = field(default_factory=dict)
    updates: dict[str, list[float | None]] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)
    losses: list[float | None] = field(default_factory=list)
    steps_an_epoch: int = 0
    best_epoch: int | None = None
    ended: bool = False
    by_hand: bool = False
    _waiting: list[float | None] = field(default_factory=list)
    _together: int = 1

    def add_epoch(self, event: dict[str, Any]) -> None:
        """What is told again after a stop stands where it stood."""
        if self.epochs and event["epoch"] <= self.epochs[-1]:
            return
        count = len(self.epochs)
        self.epochs.append(event["epoch"])
        for columns, row in ((self.figures, event["figures"]), (self.updates, event["updates"])):
            for name, value in row.items():
                columns.setdefault(name, [None] * count).append(_short(value))
            for column in columns.values():
                column.extend([None] * (count + 1 - len(column)))

    def add_steps(self, event: dict[str, Any]) -> None:
        """Of so many that there is no room for each, some that follow each other are one."""
        self.steps_an_epoch = event["of"]
        self._waiting.append(event["loss"])
        if len(self._waiting) < self._together:
            return
        self.steps.append(event["done"])
        self.losses.append(_mean(self._waiting))
        self._waiting.clear()
        if len(self.steps) == _POINTS:
            self._together *= 2
            self.steps = self.steps[1::2]
            pairs = zip(self.losses[::2], self.losses[1::2], strict=True)
            self.losses = [_mean(pair) for pair in pairs]

    def as_json(self) -> dict[str, Any]:
        """All that is public."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


@dataclass
class Followed:
    """What the events of a run come to, so far.

    Attributes:
        offset: of the file, up to which they are counted.
    """

    offset: int = 0
    began: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    phases: dict[tuple[str, str], Phase] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Count what is new."""
        while True:
            lines, offset = new_lines(path, self.offset)
            if not lines:
                return
            for _, text in lines:
                try:
                    self.count(json.loads(text))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # A line of another version, or of a disk that was full.
            self.offset = offset

    def count(self, event: dict[str, Any]) -> None:
        """Count one."""
        kind, stage = event["event"], event.get("stage", "")
        if kind == "run began":
            self.began = event
            for row in event["stages"]:
                self.stages[row["name"]] = dict(row)
        elif kind == "run ended":
            self.ended = event
        elif kind == "stage began":
            self.stages.setdefault(stage, {"name": stage})
            self.stages[stage] |= {
                "status": "running", "began": event["time"], "expected": event.get("expected")
            }  # fmt: skip
        elif kind == "progress":
            told = {k: event[k] for k in ("work", "done", "total", "note", "time")}
            self.stages[stage]["progress"] = told
        elif kind == "stage ended":
            self.stages.setdefault(stage, {"name": stage}).pop("progress", None)
            told = {k: event[k] for k in ("status", "seconds", "stats", "remarks")}
            self.stages[stage] |= told | {"artifact": event.get("artifact")}
        elif kind in ("phase began", "steps", "epoch", "phase ended"):
            self._of_phase(kind, event)
        elif kind == "alert":
            self.alerts.append(event)
        elif kind == "message" and len(self.messages) < _MESSAGES:
            self.messages.append(event)

    def _of_phase(self, kind: str, event: dict[str, Any]) -> None:
        key = (event["stage"], event["phase"])
        phase = self.phases.setdefault(key, Phase(name=key[1], stage=key[0]))
        if kind == "phase began":
            known = ("time", "level", "event", "stage", "phase", "before")
            phase.stopping = {k: v for k, v in event.items() if k not in known}
            phase.before = event["before"]
        elif kind == "steps":
            phase.add_steps(event)
        elif kind == "epoch":
            phase.add_epoch(event)
        else:
            phase.ended, phase.best_epoch = True, event["best_epoch"]
            phase.by_hand = event["by_hand"]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "offset": self.offset,
            "began": self.began,
            "ended": self.ended,
            "stages": list(self.stages.values()),
            "phases": [phase.as_json() for phase in self.phases.values()],
            "alerts": self.alerts,
            "messages": self.messages,
        }


def _short(value: float | None) -> float | None:
    """Of five digits, as no chart shows more."""
    return None if value is None else float(f"{value:.5g}")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _short(sum(known) / len(known)) if known else None


def sparkline(followed: Followed, most: int = 60) -> list[float]:
    """The validation loss of the longest phase of the model's own training, thinned out."""
    own = [p for p in followed.phases.values() if "." not in p.stage and p.figures.get("val_loss")]
    if not own:
        return []
    longest = max(own, key=lambda phase: len(phase.epochs))
    values = [v for v in longest.figures["val_loss"] if v is not None]
    return list(_thinned(values, most))


def _thinned(values: list[float], most: int) -> Iterator[float]:
    step = max(1.0, (len(values) - 1) / max(1, most - 1))
    at = 0.0
    while round(at) < len(values):
        yield values[round(at)]
        at += step
