"""What linear heads say of examples that they have not seen, on features that are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Features
from components.files import read_jsonl
from components.frozen.batches import Inputs, inputs_of
from components.job import Job
from components.tasks.learning import Learning
from components.tasks.table import task_of
from components.training import choosing
from models import learning_curve, linear, novelty, strata
from models.designs import Scale, axes
from models.linear import Path, Question

with epy.lazy_imports():
    import keras

# So many are questioned together: what it takes grows with their square, and there are enough of
# them to learn from. Of more than this in all, the first are, in the order of a hash.
_TOGETHER, _MOST, _FOLDS = 800, 12_000, 5
# Into how many parts the others are dealt, of which each example is left out; one part is learned
# from, and then another one, as which examples are in it counts as well.
_PARTS, _TURNS = (4, 2, 1), 2
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
        curve: for each target and what is watched of it, rows of `examples` that heads were fitted
            to, its `value`, and by how much it is `worse` than with all, ± `error`.
    """

    rows: list[dict[str, Any]]
    outputs: np.ndarray
    why_not: str = ""
    apart: np.ndarray = field(default_factory=lambda: np.zeros(0))
    curve: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict, repr=False)

    def name_of(self, identity: str) -> str:
        return self._names.get(identity, "")


def ask(job: Job, features: Features, learning: Learning) -> Asked:
    """Leave each example out in turn, a fifth of them at a time, and ask about it."""
    stored = [name for name in ("taps", "pooled") if name in features.keys]
    if not stored:
        return Asked([], np.zeros((0, 0)), "no features of the whole network are stored")
    both = inputs_of(job, features, stored[0])
    at = [(part, row) for part in (0, 1) for row in range(len(both[part]))]
    at.sort(key=lambda place: str(both[place[0]].rows[place[1]]["id"]))
    at = sorted(at[:_MOST])
    parts = [np.array([row for part, row in at if part == which], int) for which in (0, 1)]
    questions = choosing.questions_of(features, learning, both, parts)
    dealt = strata.folds([each.targets for each in questions], -(-len(at) // _TOGETHER))
    rows, outputs, apart, curve = [], [], [], dict[str, list[dict[str, float]]]()
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
            curve = curve or asked.curve(features)
            job.progress("rounds of labels questioned", number + 1, dealt.max() + 1)
    index = read_jsonl(features.examples.directory / "index.jsonl")
    wanted = {row["id"] for row in rows}
    names = {row["id"]: row["name"] for row in index if row["id"] in wanted}
    far = novelty.far_off(np.concatenate(apart))
    return Asked(rows, np.concatenate(outputs), "", far, curve, names)


@dataclass(frozen=True)
class _Round:
    """Some examples, as heads see them; `apart` (examples,) is how far each is from those most
    like it."""

    apart: np.ndarray
    coordinates: np.ndarray
    questions: tuple[Question, ...]
    folds: np.ndarray
    paths: list[Path]

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
        standard = _scale(features, array)(array)
        products = np.asarray(standard @ standard.T, np.float64)
        apart = novelty.to_the_nearest(products)
        coordinates = axes(products)
        folds = strata.folds([question.targets for question in questions], _FOLDS)
        tried = [(path.strength,) for path in before.paths] if before else repeat(_STRENGTHS)
        paths = [
            linear.cross_validate(coordinates, each, folds, strengths, tolerance=_TOLERANCE)
            for each, strengths in zip(questions, tried, strict=False)
        ]
        return cls(apart, coordinates, questions, folds, paths)

    def curve(self, features: Features) -> dict[str, list[dict[str, float]]]:
        """See `Asked`."""
        found: dict[str, list[dict[str, float]]] = {}
        pairs = zip(features.model.targets, self.questions, self.paths, strict=True)
        for target, question, path in pairs:
            said = {
                parts: [
                    learning_curve.said_with(
                        self.coordinates, question, self.folds, path.strength, parts, part=part
                    )
                    for part in range(min(parts, _TURNS))
                ]
                for parts in _PARTS
            }
            [(asked, _)] = said[1]
            there = question.weights[asked] > 0
            truth = question.targets[asked][there]
            for watched in task_of(target).watched(target.space):
                each = {
                    1 / parts: np.mean([_judged(watched, truth, own[there]) for _, own in turns], 0)
                    for parts, turns in said.items()
                }
                count = int((question.weights > 0).sum())
                found[target.named(watched.name)] = _rows(each, count, watched.more_is_better)
        return found


def _judged(watched: Any, truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """(examples,) of what is watched."""
    found = keras.ops.convert_to_numpy(watched.of_each(truth, said))
    return np.asarray(found, np.float64)


def _rows(
    each: dict[float, np.ndarray], count: int, more_is_better: bool
) -> list[dict[str, float]]:
    """Share of the examples → (examples,) of what is watched, as rows; all of them come last."""
    rows = []
    for share, values in each.items():
        apart = (each[1.0] - values) * (1 if more_is_better else -1)
        rows.append(
            {
                "examples": float(round(share * count * (_FOLDS - 1) / _FOLDS)),
                "value": float(values.mean()),
                "worse": float(apart.mean()),
                "error": float(apart.std(ddof=1) / np.sqrt(len(apart))) if len(apart) > 1 else 0.0,
            }
        )
    return rows


def _scale(features: Features, array: np.ndarray) -> Scale:
    scale = Scale.of([array])
    if "taps" not in features.keys:
        return scale
    weights = [choosing.weight_of(tap, features) for tap in features.taps]
    return scale.weighed(np.repeat(weights, list(features.taps.values())))
