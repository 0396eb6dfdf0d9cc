"""What a model says of a long example, bit by bit: a row for every step, and events."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import read_json
from components.modalities.table import MODALITIES
from components.served.opening import Answered, Opened, named_said
from components.tasks.protocol import Target
from components.tasks.table import short
from models.mistakes import Mistake, printable

_CONTRACT = Path("assets.extra") / "contract.json"


@dataclass(frozen=True)
class Step:
    """What is said of a moment.

    Attributes:
        start: where it begins, and
        end: … ends, in seconds: halfway to the moments beside it.
        probabilities: of each label, named after its target where there are several; empty where
            nothing has probabilities, or it could not be heard.
    """

    start: float
    end: float
    targets: tuple[Target, ...]
    answered: Answered
    probabilities: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        if not self.answered.valid:
            return {"start": self.start, "end": self.end, "valid": False}
        said = named_said(self.targets, self.answered.said)
        rest = {name: value for name, value in said.items() if "probabilities" not in name}
        told = {"probabilities": self.probabilities} if self.probabilities else {}
        return {"start": self.start, "end": self.end, "valid": True, **rest, **told}

    def as_line(self) -> str:
        """Tab-separated: start, end, what is said of each target and how probable that is."""
        said = ["invalid"]
        if self.answered.valid:
            said = [printable(each) for each in short(self.targets, self.answered.said)]
        return "\t".join([f"{self.start:.3f}", f"{self.end:.3f}", *said])


@dataclass(frozen=True)
class Event:
    """A label that was heard for a while.

    Attributes:
        start: and `end`: in seconds.
        probability: the greatest in between.
    """

    start: float
    end: float
    label: str
    probability: float

    def as_line(self) -> str:
        """Tab-separated: start, end, label, probability."""
        return f"{self.start:.3f}\t{self.end:.3f}\t{printable(self.label)}\t{self.probability:.4f}"


def steps(
    model: Path,
    modality: str,
    targets: tuple[Target, ...],
    path: Path,
    every: float,
    batch_size: int,
) -> Iterator[Step]:
    """What the model says of each moment of the example at `path`, in order.

    Args:
        every: seconds from one to the next.
        batch_size: moments a request.
    """
    cut = MODALITIES[modality].pieces
    if cut is None:
        raise Mistake(f"--every must be left out for {modality}, which has no duration")
    if not 0.01 <= every < math.inf:
        raise Mistake(f"--every must be at least 0.01 s, got {every:g}")
    if batch_size < 1:
        raise Mistake(f"--batch-size must be at least 1, got {batch_size}")
    seconds, pieces = cut(path, read_json(model / _CONTRACT), every)
    opened = Opened(model, modality, targets)
    return _steps(opened, seconds, pieces, every, batch_size)


def _steps(
    opened: Opened,
    seconds: float,
    pieces: Iterator[tuple[float, bytes]],
    every: float,
    batch_size: int,
) -> Iterator[Step]:
    start = 0.0
    for batch, last in _batches(pieces, batch_size):
        answers = opened.ask([raw for _, raw in batch]).said()
        for number, ((middle, _), answered) in enumerate(zip(batch, answers, strict=True)):
            at_end = last and number == len(batch) - 1
            end = seconds if at_end else min(middle + every / 2, seconds)
            yield Step(start, end, opened.targets, answered, _labelled(opened.targets, answered))
            start = end


def _batches(
    pieces: Iterator[tuple[float, bytes]], size: int
) -> Iterator[tuple[list[tuple[float, bytes]], bool]]:
    """So many at once, and whether they are the last."""
    batch = list(itertools.islice(pieces, size))
    while batch:
        following = list(itertools.islice(pieces, size))
        yield batch, not following
        batch = following


def _labelled(targets: tuple[Target, ...], answered: Answered) -> dict[str, float]:
    found: dict[str, float] = {}
    for target, said in zip(targets, answered.said, strict=True):
        if answered.valid and "probabilities" in said:
            labels = target.space.labels
            for label, probability in zip(labels, said["probabilities"], strict=True):
                found[f"{target.name}={label}" if target.name else label] = float(probability)
    return found


def events(found: Iterable[Step], threshold: float, release: float) -> list[Event]:
    """Where each label was heard, by the order of their beginnings.

    With hysteresis, so that what wavers around one value is not many events: one begins where the
    label is at least as probable as `threshold`, and ends where it is less probable than `release`.
    """
    if not 0.0 < release <= threshold <= 1.0:
        raise Mistake(
            f"--release must be above 0 and at most --events, which must be at most 1, got "
            f"{release:g} and {threshold:g}"
        )
    running: dict[str, Event] = {}
    ended: list[Event] = []
    for step in found:
        over = [label for label in running if step.probabilities.get(label, 0.0) < release]
        ended += [running.pop(label) for label in over]
        for label, probability in step.probabilities.items():
            if label in running:
                before = running[label]
                most = max(before.probability, probability)
                running[label] = Event(before.start, step.end, label, most)
            elif probability >= threshold:
                running[label] = Event(step.start, step.end, label, probability)
    return sorted([*ended, *running.values()], key=lambda event: (event.start, event.label))
