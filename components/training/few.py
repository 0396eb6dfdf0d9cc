"""Heads of few examples: class means, and how good they and linear heads are with so many shots.

```
prototypes.npz   mean, deviation (features,); sums (classes, features) of unit vectors; counts
                 (classes,); shrink, ball and sharpness: see `models.prototypes`
shots.json       for 1, 2, 5 … examples of each class: the accuracy of both kinds of head on the
                 others, its mean over draws and their deviation
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import HELD_OUT, Features, HeadForm, TrainedModel
from components.disk import save_weights
from components.files import write_json, write_jsonl
from components.frozen.batches import Inputs, inputs_of
from components.job import Job
from components.tasks.learning import Learning
from components.tasks.protocol import Target
from components.tasks.table import task_of
from components.training import choosing, paired
from components.training.heads import new_head, set_linear
from models import linear, prototypes, strata
from models.designs import Scale
from models.linear import Fit, Question
from models.prototypes import Prototypes, Statistics

with epy.lazy_imports():
    import keras

    from models import heads

STATISTICS, SHOTS = "prototypes.npz", "shots.json"
_SHOTS, _DRAWS, _ASKED = (1, 2, 5, 10, 20), 10, 1000
# Of a linear head that has nothing to be chosen by.
_STRENGTH = 1e-2


def fit_prototypes(
    job: Job,
    features: Features,
    learning: Learning,
    *,
    clean: bool,
    seed: int,
    last: bool = False,
) -> TrainedModel:
    """Take the mean of each class, and choose how sharp to be by leaving each example out.

    Args:
        clean: leave the examples to validate with alone.
        last: of the last layer alone, where taps are stored, too.
    """
    targets, taps = features.model.targets, "taps" in features.keys and not last
    training, validation = inputs_of(job, features, "taps" if taps or last else "pooled")
    parts = [training] if clean else [training, validation]
    job.doing("taking the means of classes")
    every = [np.arange(len(inputs)) for inputs in parts]
    array = np.concatenate(
        [inputs.gather(rows, 0) for inputs, rows in zip(parts, every, strict=True)]
    )
    if last:
        array = array[:, -list(features.taps.values())[-1] :]
    [question] = choosing.questions_of(features, learning, parts, every)
    found = prototypes.fit(array, question.targets, question.weights)
    form = HeadForm(unit=True, taps=tuple(features.taps) if taps else ())
    head = new_head(targets, form, features=array.shape[1], seed=seed)
    set_prototypes(head, targets, found)
    save_weights(head, job.directory / "head.weights.h5")
    write_statistics(job.directory, found)
    write_jsonl(job.directory / HELD_OUT, _held_out(parts, found))
    shots = _shots(array, question)
    write_json(job.directory / SHOTS, shots)
    right = found.said.argmax(axis=1) == question.targets.argmax(axis=1)
    counts = question.targets[question.weights > 0].sum(axis=0)
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        form=form,
        kept=f"the means of {len(counts)} classes, of {counts.min():.0f} to {counts.max():.0f} "
        f"examples each",
        stats={
            "features": "all taps" if taps else "the last layer",
            "cv_accuracy": float(right[question.weights > 0].mean()),
            "shrink": found.shrink,
            "ball": found.ball if np.isfinite(found.ball) else None,  # JSON has no infinity.
            "sharpness": round(found.sharpness, 2),
            "turns": shots["turns"],
        },
    )


def are_better(job: Job, features: Features, learning: Learning) -> bool:
    """Whether class means lose less than linear heads, beyond noise, or nothing else is to be had.

    Each is asked about examples that it has not seen.
    """
    if [task_of(target).activation for target in features.model.targets] != ["softmax"]:
        return False
    both = inputs_of(job, features, "taps")
    chooser = choosing.Chooser.of(features, learning, both)
    [question] = chooser.questions
    if question.targets[question.weights > 0].sum(axis=0).min() < 2:
        return True
    with linear.one_thread():
        chosen, _, _ = choosing.choose(chooser, may_be_last=True, may_be_cut=False)
    array = chooser.features(both)[:, -list(features.taps.values())[-1] :]
    means = prototypes.fit(array, question.targets, question.weights)
    fell, error = paired.better_by(chosen.losses, question.losses(means.said))
    return fell > error


def set_prototypes(head: keras.Model, targets: Sequence[Target], found: Prototypes) -> None:
    """Give a head of unit vectors the class means that were found."""
    heads.standardize(head, found.statistics.mean, found.statistics.deviation)
    set_linear(head, targets, [found.linear()])


def begin(
    head: keras.Model,
    targets: Sequence[Target],
    read: np.ndarray,
    truth: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Let a linear head, which is adapted to its features, begin with what class means say."""
    layer = head.get_layer(heads.NORMALIZATION)
    normalized = keras.ops.convert_to_numpy(layer(read))
    set_linear(head, targets, [prototypes.beginning(normalized, truth, np.ravel(weights))])


def write_statistics(directory: Path, found: Prototypes) -> None:
    known = found.statistics
    np.savez(
        directory / STATISTICS,
        allow_pickle=False,
        mean=known.mean,
        deviation=known.deviation,
        sums=known.sums,
        counts=known.counts,
        shrink=found.shrink,
        ball=found.ball,
        sharpness=found.sharpness,
    )


def read_statistics(directory: Path) -> tuple[Statistics, float, float]:
    """The statistics, how far they are drawn together, and how sharp they are."""
    with np.load(directory / STATISTICS, allow_pickle=False) as arrays:
        known = Statistics(*(arrays[name] for name in ("mean", "deviation", "sums", "counts")))
        return known, float(arrays["shrink"]), float(arrays["sharpness"])


def _held_out(parts: Sequence[Inputs], found: Prototypes) -> list[dict[str, Any]]:
    """What is said of each example by means that it is not in."""
    rows = [row for inputs in parts for row in inputs.rows]
    return [
        {"answers": row["answers"], "outputs": outputs.tolist()}
        for row, outputs in zip(rows, found.said, strict=True)
    ]


def _shots(array: np.ndarray, question: Question) -> dict[str, Any]:
    """Accuracy against examples of each class, of class means and of linear heads."""
    known = np.flatnonzero(question.weights > 0)
    labels = question.targets[known].argmax(axis=1)
    least = int(np.bincount(labels, minlength=question.targets.shape[1]).min())
    rows = []
    for shots in (number for number in _SHOTS if number < least):
        draws = np.array([_drawn(array[known], labels, question, shots, d) for d in range(_DRAWS)])
        (means, lines), (one, other) = draws.mean(axis=0), draws.std(axis=0, ddof=1)
        more = draws[:, 1] - draws[:, 0]
        rows.append(
            {
                "shots": shots,
                "prototypes": means,
                "prototypes_deviation": one,
                "linear": lines,
                "linear_deviation": other,
                # On the same draws, by more than two standard errors.
                "linear_is_better": bool(more.mean() > 2 * more.std(ddof=1) / _DRAWS**0.5),
            }
        )
    turns = next((row["shots"] for row in rows if row["linear_is_better"]), None)
    return {"rows": rows, "turns": turns, "draws": _DRAWS}


def _drawn(
    array: np.ndarray, labels: np.ndarray, question: Question, shots: int, draw: int
) -> tuple[float, float]:
    """The accuracy of both, of so many examples of each class, on some of the others."""
    dice = np.random.default_rng(draw)
    mixed = dice.permutation(len(labels))
    own = np.concatenate([mixed[labels[mixed] == c][:shots] for c in np.unique(labels)])
    asked = np.setdiff1d(mixed[:_ASKED], own)
    targets = np.eye(question.targets.shape[1])[labels[own]]
    found = prototypes.fit(array[own], targets, np.ones(len(own)))
    said = found.linear()(found.statistics.units(array[asked]))
    few = Question(targets, np.ones(len(own)), question.activation, question.slope)
    other = _linear(array[own], few, shots)(array[asked])
    truth = labels[asked]
    return float((said.argmax(axis=1) == truth).mean()), float(
        (other.argmax(axis=1) == truth).mean()
    )


def _linear(array: np.ndarray, question: Question, shots: int) -> Fit:
    """A linear head, its strength found by cross-validation where there are two of each.

    Its features are standardized as those of class means are: by the deviations of a few examples
    alone it did far worse (of one ant and one bee 0.63 instead of 0.74).
    """
    scale = Scale.of([array]).softened()
    with linear.one_thread():
        strength = _STRENGTH
        if shots > 1:
            folds = strata.folds([question.targets], min(5, shots))
            standard = scale(array).astype(np.float64)
            strength = linear.cross_validate(standard, question, folds, tolerance=1e-4).strength
        return linear.fit(lambda: [array], scale, [question], [strength])[0]
