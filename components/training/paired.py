"""What two models lose on the very same examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from etils import epy

from components.tasks.learning import Learning
from components.tasks.protocol import Target
from components.tasks.table import slices
from components.training.data import TrainingData

with epy.lazy_imports():
    import keras

    from models import hardware

# Without gradients there is room for more of them than in a step of training.
_BATCH = 128


def losses(
    model: keras.Model, data: TrainingData, targets: Sequence[Target], learning: Learning
) -> np.ndarray:
    """(examples,): the loss of each validation example, of all its targets, as they weigh.

    The model is compiled anew.
    """
    model.compile(jit_compile=hardware.jit_compile())
    examples = data.validation
    found = np.zeros(len(examples))
    for start in range(0, len(examples), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(examples)))
        inputs, truth, weights = examples.gather(rows, 0)
        said = np.asarray(model.predict_on_batch(inputs))
        for number, (target, columns) in enumerate(slices(tuple(targets))):
            lost, _ = data.slopes[number](truth[:, columns], said[:, columns])
            found[rows] += learning.weights.get(target.name, 1.0) * weights[:, number] * lost
    return found


def better_by(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(by how much the loss of the same examples fell, the standard error of that)."""
    fell = before - after
    return float(fell.mean()), float(fell.std(ddof=1) / np.sqrt(len(fell)))
