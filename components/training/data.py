"""What a phase trains on: what is read of the examples, with their answers as targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from etils import epy

from components.artifacts import Features
from components.frozen.batches import Inputs, inputs_of
from components.job import Job
from components.tasks.learning import Learning
from components.tasks.protocol import Answer, Target
from components.tasks.table import slices, task_of
from models.minibatches import Data, labelled
from models.slopes import Slope

with epy.lazy_imports():
    from models import objectives


@dataclass(frozen=True)
class TrainingData:
    """Examples to train and to validate with, and what is minimized on them.

    Attributes:
        slopes: the losses of the targets, of arrays.
        answers: of the validation examples, to each target.
    """

    training: Data
    validation: Data
    objective: objectives.Objective
    slopes: tuple[Slope, ...]
    answers: tuple[tuple[Answer, ...], ...]


def training_data(
    job: Job, features: Features, output: str, learning: Learning, taps: Sequence[str] = ()
) -> TrainingData:
    """The examples of `features`.

    Args:
        output: and `taps`: see `batches.inputs_of`.
    """
    targets = features.model.targets
    training, validation = inputs_of(job, features, output, taps)
    truth = wanted(training, targets)
    parts = tuple(
        objectives.Part(
            columns.stop - columns.start,
            task_of(target).loss(learning.section(target), truth[:, columns]),
            task_of(target).watched(target.space),
            learning.weights.get(target.name, 1.0),
            target.name,
        )
        for target, columns in slices(targets)
    )
    balanced = np.stack(
        [
            task_of(target).weights(learning.section(target), truth[:, columns])
            for target, columns in slices(targets)
        ],
        axis=1,
    )
    objective = objectives.Objective(parts, learning.by_uncertainty)
    return TrainingData(
        _data(training, truth, balanced * told(training, targets), objective),
        _data(validation, wanted(validation, targets), told(validation, targets), objective),
        objective,
        tuple(
            task_of(target).slope(learning.section(target), truth[:, columns])
            for target, columns in slices(targets)
        ),
        tuple(
            tuple(row["answers"][number] for row in validation.rows)
            for number in range(len(targets))
        ),
    )


def _data(
    inputs: Inputs, targets: np.ndarray, weights: np.ndarray, objective: objectives.Objective
) -> Data:
    return labelled(
        targets, inputs.gather, inputs.lengths, weights=weights, widths=objective.widths
    )


def wanted(inputs: Inputs, targets: Sequence[Target]) -> np.ndarray:
    """(examples, outputs) of what the outputs should be."""
    return np.concatenate(
        [
            task_of(target).targets([row["answers"][number] for row in inputs.rows], target.space)
            for number, target in enumerate(targets)
        ],
        axis=1,
    )


def told(inputs: Inputs, targets: Sequence[Target]) -> np.ndarray:
    """(examples, targets): 0 where an answer is missing, and else as much more than 1 as makes up
    for it."""
    there = np.array(
        [[answer is not None for answer in row["answers"]] for row in inputs.rows], np.float32
    ).reshape(len(inputs.rows), len(targets))
    found: np.ndarray = there * (len(there) / np.maximum(there.sum(axis=0), 1.0))
    return found.astype(np.float32)
