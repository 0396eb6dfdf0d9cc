"""What heads are like that were fitted to fewer examples: what a learning curve goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Features
from components.frozen.batches import Inputs, inputs_of
from components.job import Job
from components.tasks import more_labels
from components.tasks.learning import Learning
from components.tasks.more_labels import MoreLabels
from components.tasks.table import task_of
from components.training import choosing
from models import linear, strata
from models.designs import Dense, coordinates
from models.learning_curve import Curve
from models.linear import Question

with epy.lazy_imports():
    import keras

# How many sizes, the largest so many times the smallest; draws of each; parts left out in turn.
_SIZES, _SPAN, _DRAWS, _FOLDS = 6, 32, 5, 5
# Through fewer sizes no curve is drawn.
_LEAST = 3
# The smallest has so many examples of each class.
_OF_EACH = 3
# So many examples at most, so many outputs of all of them together, and coordinates of each.
_MOST, _OUTPUTS, _AXES = 12_000, 120_000, 2048
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Strength:
    """Of the ridge that was found best where heads were fitted to so many examples."""

    strength: float
    examples: float


def inputs(job: Job, features: Features) -> tuple[Inputs, Inputs] | None:
    """What is read of the examples to train and to validate with; None where nothing is stored."""
    stored = [name for name in ("taps", "pooled") if name in features.keys]
    return inputs_of(job, features, stored[0]) if stored else None


def places(both: tuple[Inputs, Inputs]) -> list[tuple[int, int]]:
    """(0 to train and 1 to validate with, row) of all examples, in the order of a hash."""
    found = [(part, row) for part in (0, 1) for row in range(len(both[part]))]
    return sorted(found, key=lambda place: str(both[place[0]].rows[place[1]]["id"]))


def measure(
    job: Job, features: Features, learning: Learning, strengths: Sequence[Strength]
) -> None:
    """Fit heads to ever fewer of the examples, and write what they are off by on the others.

    See `tasks.more_labels`.

    Args:
        strengths: for each target; none where nothing is to be said.
    """
    both = inputs(job, features)
    if both is None or not strengths:
        more_labels.write(job.directory, [])
        return
    targets = features.model.targets
    units = sum(task_of(target).units(target.space) for target in targets)
    some = sorted(places(both)[: min(_MOST, max(_OUTPUTS // units, 10 * _OF_EACH))])
    parts = [np.array([row for part, row in some if part == which], int) for which in (0, 1)]
    questions = choosing.questions_of(features, learning, both, parts)
    array = np.concatenate(
        [inputs.gather(rows, 0) for inputs, rows in zip(both, parts, strict=True) if len(rows)]
    )
    design = coordinates(choosing.scale_of(features, array)(array), _AXES)
    folds = strata.folds([question.targets for question in questions], _FOLDS)
    found = []
    for number, (target, question, known) in enumerate(
        zip(targets, questions, strengths, strict=True)
    ):
        task, there = task_of(target), np.flatnonzero(question.weights > 0)
        with linear.one_thread():
            sizes, said = _said(job, design[there], question.of(there), folds[there], known)
        answers = [both[part].rows[row]["answers"][number] for part, row in some]
        names, group = _grouped(task.strata([answers[at] for at in there]))
        found += [
            MoreLabels(
                figure=target.named(watched.name),
                more_is_better=watched.more_is_better,
                answered=_answered(both, number),
                curve=Curve(
                    np.array(sizes),
                    tuple(_errors(watched, question.targets[there], each) for each in said),
                ),
                groups=tuple(names) if target.space.labels else (),
                group=group,
            )
            for watched in (task.watched(target.space) if sizes else ())
        ]
    more_labels.write(job.directory, found)


def _said(
    job: Job, design: np.ndarray, question: Question, folds: np.ndarray, known: Strength
) -> tuple[list[float], list[np.ndarray]]:
    """The sizes, and for each (draws, examples, outputs) of heads that had not seen them.

    None where there are too few examples.
    """
    dice = np.random.default_rng(0)
    count, outputs = question.targets.shape
    most = count * (_FOLDS - 1) / _FOLDS
    least = min(max(_OF_EACH * outputs, most / _SPAN), most)
    sizes = sorted({float(round(size)) for size in np.geomspace(least, most, _SIZES)})
    if len(sizes) < _LEAST:
        return [], []
    found = []
    for number, size in enumerate(sizes):
        draws = _DRAWS if number + 1 < len(sizes) else 1
        said = np.zeros((draws, count, outputs))
        for fold in np.unique(folds):
            others, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            for draw in range(draws):
                mixed = dice.permutation(others)
                inside = mixed[strata.some([question.targets[mixed]], int(size))]
                fit = linear.solve(
                    Dense.of(design[inside]),
                    question.of(inside),
                    known.strength * known.examples / max(len(inside), 1),
                    tolerance=_TOLERANCE,
                )
                said[draw, asked] = fit(design[asked])
        found.append(said)
        job.progress("sizes of a learning curve", number + 1, len(sizes))
    return sizes, found


def _errors(watched: Any, truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """(draws, examples): 1 less what is watched where that is a share, else itself."""
    values = np.stack(
        [keras.ops.convert_to_numpy(watched.of_each(truth, each)) for each in said]
    ).astype(np.float32)
    return 1.0 - values if watched.more_is_better else values


def _answered(both: tuple[Inputs, Inputs], number: int) -> int:
    """How many examples have an answer to a target."""
    return sum(row["answers"][number] is not None for inputs in both for row in inputs.rows)


def _grouped(strata: Sequence[tuple[str, ...]]) -> tuple[list[str], np.ndarray]:
    """The names of the groups, and (examples,) the number of each example's first."""
    names = sorted({each[0] for each in strata if each})
    number = {name: at for at, name in enumerate(names)}
    return names, np.array([number[each[0]] if each else -1 for each in strata], np.int32)
