"""How many more labels: what a learning curve says of a goal, of twice as many, of each class.

```
learning_curve.json  for each figure that is watched: its name, whether more of it is better, how
                     many examples have an answer, the sizes, and the names of the groups
learning_curve.npz   N/errors_K: (draws, examples) of errors with the Kth size;
                     N/groups: (examples,) the number of each one's group, -1 for none
```
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.files import read_json, write_json
from models.learning_curve import REACH, Curve

FILE, ARRAYS = "learning_curve.json", "learning_curve.npz"
# What is asked about where no goal is given: the next of these.
_GOALS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
# A goal that leaves more than this of the error is none.
_CLOSER = 0.8
# So many classes are named that gain most, and so many examples of one are few.
_NAMED, _FEW = 3, 10


class Value(NamedTuple):
    """A figure, and what holds it 90 of 100 times."""

    low: float
    value: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Gain(NamedTuple):
    """What a class has gained from the last doubling of the examples, with its standard error."""

    label: str
    gain: float
    error: float
    examples: int


@dataclass(frozen=True)
class MoreLabels:
    """What more labels would do to a figure.

    Attributes:
        figure: its name, that of its target before it.
        more_is_better: of it; then it is a share, whose error is what is missing to 1.
        answered: how many examples have an answer.
        curve: of the errors.
        groups: the names of classes, and (examples,) `group` the number of each one's.
    """

    figure: str
    more_is_better: bool
    answered: int
    curve: Curve
    groups: tuple[str, ...]
    group: np.ndarray

    @property
    def words(self) -> str:
        """The figure, for a person."""
        return self.figure.replace("_", " ")

    @property
    def sizes(self) -> list[int]:
        return [int(size) for size in self.curve.sizes]

    def measured(self) -> list[Value]:
        """The figure with each of `sizes`."""
        return [self._value(at) for at in self.curve.measured().T]

    def with_examples(self, examples: float) -> Value | None:
        """What it may be with so many in all; None where nobody can tell."""
        if examples > self.curve.farthest:
            return None
        return self._value(self.curve.band([examples])[:, 0])

    @property
    def now(self) -> float:
        """With as many as were learned from at most."""
        return self.measured()[-1].value

    @property
    def goal(self) -> float:
        """What is worth to be asked about."""
        if not self.more_is_better:
            return _CLOSER * self.now
        return next((goal for goal in _GOALS if 1 - goal < _CLOSER * (1 - self.now)), 1.0)

    def check(self, goal: float) -> str:
        """Why `goal` is none; empty where it is one."""
        if self.more_is_better and not 0 < goal < 1:
            return "between 0 and 1"
        return "" if math.isfinite(goal) and goal > 0 else "above 0"

    def for_goal(self, goal: float) -> str:
        """How many more labels it needs, as a sentence."""
        needed = self.curve.needed(1 - goal if self.more_is_better else goal)
        low, high = (max(0.0, each - self.answered) for each in (needed.low, needed.high))
        what = f"{self.words} {goal:.4g}"
        most = self.curve.farthest - self.answered
        if most <= 0:
            return (
                f"For {what} nobody can tell: no more than {self._asked} examples were looked at."
            )
        if math.isinf(low):
            return (
                f"For {what} more than {_round(most)} more labels are needed, or no number of them "
                f"is enough: beyond {REACH:g} times what was learned from nobody can tell."
            )
        if math.isinf(high) and not low:
            return (
                f"For {what} nobody can tell: it may be there already, or need more than "
                f"{_round(most)} more labels."
            )
        if math.isinf(high):
            return (
                f"For {what} at least {_round(low)} more labels, and maybe more than "
                f"{_round(most)}: beyond {REACH:g} times what was learned from nobody can tell."
            )
        if not high:
            return f"For {what} no more labels are needed."
        return f"For {what} about {_round(low)} to {_round(high)} more labels."

    def summary(self) -> str:
        """What there is, and what twice as many would be, in a sentence or two."""
        name, last = self.words, self.measured()[-1]
        said = f"With {self.sizes[-1]} examples a head has {name} {last}"
        twice = self.with_examples(2 * self.answered)
        if twice is None:
            return f"{said}."
        return (
            f"{said}; with {2 * self.answered}, twice as many as there are, it would have {twice}, "
            f"90 of 100 times."
        )

    def gains(self) -> list[Gain]:
        """The classes that surely gained from the last doubling, those that gained most first."""
        errors = self.curve.errors
        before, after = errors[self.curve.half].mean(axis=0), errors[-1][0]
        found = []
        for number, name in enumerate(self.groups):
            own = (before - after)[self.group == number]
            if len(own) < _FEW:
                continue
            gain, error = float(own.mean()), float(own.std(ddof=1) / math.sqrt(len(own)))
            if gain > 2 * error:
                found.append(Gain(name, gain, error, len(own)))
        return sorted(found, key=lambda each: -each.gain)[:_NAMED]

    def of_classes(self) -> str:
        """Which classes gain most, as a sentence; empty where none surely does."""
        told = ", ".join(
            f"{each.label} (+{each.gain:.3f} ± {each.error:.3f})" for each in self.gains()
        )
        if not told or len(self.groups) < 2:
            return ""
        before, after = self.sizes[self.curve.half], self.sizes[-1]
        return f"From {before} to {after} examples these gained most: {told}."

    def as_json(self, goal: float | None = None) -> dict[str, Any]:
        """All that is told."""
        asked = self.goal if goal is None else goal
        needed = self.curve.needed(1 - asked if self.more_is_better else asked)
        ends = [needed.low, needed.middle, needed.high]
        twice = self.with_examples(2 * self.answered)
        return {
            "figure": self.figure,
            "examples": self.answered,
            "measured": [
                {"examples": size} | value._asdict()
                for size, value in zip(self.sizes, self.measured(), strict=True)
            ],
            "twice": {"examples": 2 * self.answered} | twice._asdict() if twice else None,
            "goal": asked,
            "examples_needed": [None if math.isinf(end) else round(end) for end in ends],
            "farthest": round(self.curve.farthest),
            "gains": [each._asdict() for each in self.gains()],
        }

    @cached_property
    def _asked(self) -> int:
        return int(self.curve.errors[0].shape[1])

    def _value(self, errors: np.ndarray) -> Value:
        low, middle, high = (float(each) for each in errors)
        return (
            Value(1 - high, 1 - middle, 1 - low)
            if self.more_is_better
            else Value(low, middle, high)
        )


def write(directory: Path, found: Sequence[MoreLabels]) -> None:
    told = [
        {
            "figure": each.figure,
            "more_is_better": each.more_is_better,
            "answered": each.answered,
            "sizes": each.sizes,
            "groups": each.groups,
        }
        for each in found
    ]
    write_json(directory / FILE, told)
    arrays = {f"{n}/groups": each.group for n, each in enumerate(found)}
    for n, each in enumerate(found):
        arrays |= {f"{n}/errors_{k}": errors for k, errors in enumerate(each.curve.errors)}
    np.savez_compressed(directory / ARRAYS, allow_pickle=False, **arrays)


def read(directory: Path) -> Iterator[MoreLabels]:
    """What was found of each figure that is watched."""
    with np.load(directory / ARRAYS, allow_pickle=False) as arrays:
        for number, told in enumerate(read_json(directory / FILE)):
            sizes = np.array(told["sizes"], float)
            errors = tuple(arrays[f"{number}/errors_{n}"] for n in range(len(sizes)))
            yield MoreLabels(
                figure=told["figure"],
                more_is_better=told["more_is_better"],
                answered=told["answered"],
                curve=Curve(sizes, errors),
                groups=tuple(told["groups"]),
                group=arrays[f"{number}/groups"],
            )


def _round(count: float) -> str:
    """To two digits: nobody knows it better."""
    if count < 10:
        return f"{count:.0f}"
    power = 10 ** (math.floor(math.log10(count)) - 1)
    return f"{round(count / power) * power:,.0f}"
