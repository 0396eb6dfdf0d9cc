"""What linear heads say of examples that they have not seen, on features that are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from components.artifacts import Features
from components.files import read_jsonl
from components.frozen.batches import Inputs
from components.job import Job
from components.tasks.learning import Learning
from components.training import choosing, fewer
from components.training.fewer import Strength
from models import linear, novelty, strata
from models.designs import axes
from models.linear import Path, Question

# So many are questioned together: what it takes grows with their square, and there are enough of
# them to learn from. Of more than this in all, the first are, in the order of a hash.
_TOGETHER, _MOST, _FOLDS = 800, 12_000, 5
# What is doubted is doubted by any head that is about right.
_STRENGTHS, _TOLERANCE = linear.STRENGTHS[::2], 1e-5


@dataclass(frozen=True)
class Asked:
    """Examples, and what was said of them.

    Attributes:
        rows: id, split and answers of each.
        outputs: (examples, outputs) of heads that had not seen them.
        why_not: why nobody was asked; empty where they were.
        apart: (examples,), how far each is from those most like it, in standard deviations of how
            far they usually are; of logarithms.
        strengths: of those heads, for each target.
    """

    rows: list[dict[str, Any]]
    outputs: np.ndarray
    why_not: str = ""
    apart: np.ndarray = field(default_factory=lambda: np.zeros(0))
    strengths: tuple[Strength, ...] = ()
    _names: dict[str, str] = field(default_factory=dict, repr=False)

    def name_of(self, identity: str) -> str:
        return self._names.get(identity, "")


def ask(job: Job, features: Features, learning: Learning) -> Asked:
    """Leave each example out in turn, a fifth of them at a time, and ask about it."""
    both = fewer.inputs(job, features)
    if both is None:
        return Asked([], np.zeros((0, 0)), "no features of the whole network are stored")
    at = sorted(fewer.places(both)[:_MOST])
    parts = [np.array([row for part, row in at if part == which], int) for which in (0, 1)]
    questions = choosing.questions_of(features, learning, both, parts)
    dealt = strata.folds([each.targets for each in questions], -(-len(at) // _TOGETHER))
    rows, outputs, apart = [], [], []
    asked: _Round | None = None
    with linear.one_thread():
        for number in range(dealt.max() + 1):
            chosen = np.flatnonzero(dealt == number)
            some = [at[i] for i in chosen]
            rows += [both[part].rows[row] for part, row in some]
            own = tuple(question.of(chosen) for question in questions)
            asked = _Round.of(features, both, some, own, asked)
            outputs.append(np.concatenate([path.said for path in asked.paths], axis=1))
            apart.append(asked.apart)
            job.progress("rounds of labels questioned", number + 1, dealt.max() + 1)
    index = read_jsonl(features.examples.directory / "index.jsonl")
    wanted = {row["id"] for row in rows}
    names = {row["id"]: row["name"] for row in index if row["id"] in wanted}
    far = novelty.far_off(np.concatenate(apart))
    strengths = asked.strengths if asked else ()
    return Asked(rows, np.concatenate(outputs), "", far, strengths, names)


@dataclass(frozen=True)
class _Round:
    """What heads say of some examples; `apart` (examples,) is how far each is from those most like
    it."""

    apart: np.ndarray
    paths: list[Path]

    @property
    def strengths(self) -> tuple[Strength, ...]:
        """Those that were found best, of each target."""
        fitted = len(self.apart) * (1 - 1 / _FOLDS)
        return tuple(Strength(path.strength, fitted) for path in self.paths)

    @classmethod
    def of(
        cls,
        features: Features,
        both: tuple[Inputs, Inputs],
        some: list[tuple[int, int]],
        questions: tuple[Question, ...],
        before: _Round | None,
    ) -> _Round:
        """
        Args:
            some: (0 to train and 1 to validate with, row) of each, those to train with first.
            questions: of these.
            before: the round before, whose strengths will do.
        """
        parts = [np.array([row for part, row in some if part == which], int) for which in (0, 1)]
        array = np.concatenate(
            [inputs.gather(rows, 0) for inputs, rows in zip(both, parts, strict=True) if len(rows)]
        )
        standard = choosing.scale_of(features, array)(array)
        products = np.asarray(standard @ standard.T, np.float64)
        apart = novelty.to_the_nearest(products)
        coordinates = axes(products)
        folds = strata.folds([question.targets for question in questions], _FOLDS)
        tried = [(path.strength,) for path in before.paths] if before else repeat(_STRENGTHS)
        paths = [
            linear.cross_validate(coordinates, each, folds, strengths, tolerance=_TOLERANCE)
            for each, strengths in zip(questions, tried, strict=False)
        ]
        return cls(apart, paths)
