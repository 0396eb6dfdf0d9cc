"""What two models lose on the very same examples."""

from __future__ import annotations

import numpy as np
from etils import epy

from components.artifacts import Features
from components.tasks.learning import Learning
from components.tasks.table import slices, task_of
from models.minibatches import Data

with epy.lazy_imports():
    import keras

    from models import hardware

# Without gradients there is room for more of them than in a step of training.
_BATCH = 128


def losses(model: keras.Model, data: Data, features: Features, learning: Learning) -> np.ndarray:
    """(examples,): the loss of each example of `data`, of all its targets, as they weigh.

    The model is compiled anew.
    """
    model.compile(jit_compile=hardware.jit_compile())
    found = np.zeros(len(data))
    for start in range(0, len(data), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(data)))
        inputs, truth, weights = data.gather(rows, 0)
        said = np.asarray(model.predict_on_batch(inputs))
        for number, (target, columns) in enumerate(slices(features.model.targets)):
            slope = task_of(target).slope(learning.section(target), truth[:, columns])
            lost = slope(truth[:, columns], said[:, columns])[0]
            found[rows] += learning.weights.get(target.name, 1.0) * weights[:, number] * lost
    return found


def better_by(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(by how much the loss of the same examples fell, the standard error of that)."""
    fell = before - after
    return float(fell.mean()), float(fell.std(ddof=1) / np.sqrt(len(fell)))
