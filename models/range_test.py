"""The learning-rate range test (Smith 2017, arXiv:1506.01186): train a little at rising rates."""

from __future__ import annotations

import keras
import numpy as np

from models import distribution
from models.hardware import jit_compile
from models.minibatches import Data
from models.objectives import Objective
from models.optimization import Adam

# Rates are tried from the one to the other, evenly in the logarithm.
LOWEST, HIGHEST = 1e-5, 1.0
STEPS = 100
# As in fast.ai: how much of the smoothed loss is what it was, and when it counts as blown up.
_MOMENTUM, _BLOWN_UP = 0.9, 4.0
_ALMOST = 0.8


def range_test(
    model: keras.Model,
    data: Data,
    *,
    objective: Objective,
    batch_size: int,
    seed: int,
    steps: int = STEPS,
) -> float:
    """The lowest rate at which the loss falls almost as fast as anywhere before its least value.

    Args:
        model: is trained on epoch 0 of `data`, and of no use afterwards.
    """
    optimizer = Adam(LOWEST)
    model.compile(optimizer=optimizer, loss=objective.loss(model), jit_compile=jit_compile())
    distribution.build(model, lambda: data.gather(np.arange(1), 0))
    rng = np.random.default_rng(seed)
    devices = distribution.replicas()
    size = max(min(batch_size, len(data)) // devices, 1) * devices
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    losses: list[float] = []
    average = 0.0
    for step, rate in enumerate(rates, start=1):
        rows = distribution.part(rng.choice(len(data), size, replace=size > len(data)))
        optimizer.learning_rate = rate
        x, y, w = distribution.shared(data.gather(rows, 0))
        value = model.train_on_batch(x, y, sample_weight=w)
        average = _MOMENTUM * average + (1 - _MOMENTUM) * float(np.ravel(value)[0])
        smoothed = average / (1 - _MOMENTUM**step)
        if losses and not smoothed < _limit(losses):  # NaN has blown up, too.
            break
        losses.append(smoothed)
    until = max(int(np.argmin(losses)) + 1, min(3, len(losses)))
    if until < 3:
        return LOWEST
    slopes = np.gradient(np.array(losses[:until]))
    return float(rates[int(np.argmax(slopes <= _ALMOST * slopes.min()))])


def _limit(losses: list[float]) -> float:
    """From where on it has blown up; a loss with learned weights may be below 0."""
    least = min(losses)
    return _BLOWN_UP * least if least > 0 else least + _BLOWN_UP * abs(losses[0])
