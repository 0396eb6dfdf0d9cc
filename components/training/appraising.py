"""What frozen features are worth, by scores that train nothing or fit a head in a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Features
from components.frozen.batches import inputs_of
from components.job import Job
from components.tasks.learning import Learning
from components.tasks.table import task_of
from components.training import choosing
from components.training.choosing import Chooser
from models import linear, neighbours, prototypes
from models.designs import axes

with epy.lazy_imports():
    import keras

    from models import logme

# Halves of the examples of which LogME is told: one drawn again is too sure of itself.
_HALVES = 10


@dataclass(frozen=True)
class Scored:
    """What one way to answer comes to.

    Attributes:
        errors: (examples,), what it is off by on each, by a head that has not seen it; of several
            targets the mean, each as a share of what always the same answer is off by.
        figures: of each target, what is watched.
    """

    errors: np.ndarray
    figures: dict[str, float]


@dataclass(frozen=True)
class Appraised:
    """All scores of a giant.

    Attributes:
        rows: of the examples that were looked at.
        ways: `knn`, `prototypes` where there are classes, `last` and `taps`.
        logme: of its last layer, and the deviation of that, for answers that are no classes.
    """

    rows: list[dict[str, Any]]
    ways: Mapping[str, Scored]
    logme: tuple[float, float] | None


def appraise(job: Job, features: Features, learning: Learning) -> Appraised:
    """Score the features on the examples that choose among taps, at most."""
    both = inputs_of(job, features, "taps")
    job.doing("asking the neighbours")
    chooser = Chooser.of(features, learning, both)
    names = list(chooser.widths)
    last = chooser.products[names[-1]]
    said = {"knn": [neighbours.said(last, q.targets, q.weights) for q in chooser.questions]}
    if all(question.activation == "softmax" for question in chooser.questions):
        array = chooser.features(both)[:, -chooser.widths[names[-1]] :]
        said["prototypes"] = [
            prototypes.fit(array, q.targets, q.weights).said for q in chooser.questions
        ]
    job.doing("fitting heads")
    with linear.one_thread():
        tried = {"last": chooser.try_out([names[-1]])}
        if len(names) > 1:
            near = [choosing.near(path.strength) for path in tried["last"].paths]
            tried["taps"] = chooser.try_out(choosing.plain(names), near)
    said |= {way: [path.said for path in found.paths] for way, found in tried.items()}
    softly = all(question.activation == "softmax" for question in chooser.questions)
    return Appraised(
        chooser.rows(both),
        {way: _scored(chooser, outputs) for way, outputs in said.items()},
        None if softly else _logme(last, chooser),
    )


def _scored(chooser: Chooser, said: Sequence[np.ndarray]) -> Scored:
    figures, errors = {}, []
    for target, question, outputs in zip(chooser.targets, chooser.questions, said, strict=True):
        watched, there = task_of(target).watched(target.space)[0], question.weights > 0
        values = _values(watched, question.targets, outputs)
        usual = _values(watched, question.targets, _always(question))
        figures[target.named(watched.name)] = float(values[there].mean())
        off, trivial = (1 - each if watched.more_is_better else each for each in (values, usual))
        share = 1.0 if len(said) == 1 else max(float(trivial[there].mean()), 1e-9)
        errors.append(np.where(there, off, off[there].mean()) / share)
    return Scored(np.mean(errors, axis=0), figures)


def _always(question: linear.Question) -> np.ndarray:
    """(examples, outputs): the mean of all answers."""
    mean = np.average(question.targets, axis=0, weights=question.weights)
    return np.tile(mean, (len(question.targets), 1))


def _values(watched: Any, truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    found = keras.ops.convert_to_numpy(watched.of_each(truth, said))
    return np.asarray(found, np.float64)


def _logme(products: np.ndarray, chooser: Chooser) -> tuple[float, float]:
    """The mean over targets, and its deviation, by halves of the examples."""
    coordinates = axes(products.copy())
    targets = np.concatenate([_standard(question) for question in chooser.questions], axis=1)
    dice, found = np.random.default_rng(0), []
    for _ in range(_HALVES):
        half = dice.permutation(len(targets))[: max(2, len(targets) // 2)]
        found.append(logme.logme(coordinates[half], targets[half]))
    whole = logme.logme(coordinates, targets)
    return whole, float(np.std(found, ddof=1)) / 2**0.5


def _standard(question: linear.Question) -> np.ndarray:
    """(examples, outputs), each of no mean and a deviation of 1; missing answers are the mean."""
    there = question.weights > 0
    mean = question.targets[there].mean(axis=0)
    deviation = question.targets[there].std(axis=0)
    found = (question.targets - mean) / np.maximum(deviation, 1e-9)
    return np.where(there[:, None], found, 0.0)
