"""The learning-rate range test (Smith 2017, arXiv:1506.01186): train a little at rising rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from models.training import Data

# Rates are tried from the one to the other, evenly in the logarithm.
LOWEST, HIGHEST = 1e-5, 1.0
_STEPS = 100
# As in fast.ai: how much of the smoothed loss is what it was, and when it counts as blown up.
_MOMENTUM, _BLOWN_UP = 0.9, 4.0
_ALMOST = 0.8


@dataclass(frozen=True)
class RangeTest:
    """What the loss did while the learning rate rose.

    Attributes:
        rates: those tried; the test ends where the loss has blown up.
        losses: smoothed, one for each rate.
        suggested: the lowest rate at which it fell almost as fast as anywhere.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float


def range_test(
    model: keras.Model, data: Data, *, loss: Any, batch_size: int, seed: int
) -> RangeTest:
    """Train `model`, which is of no use afterwards, on view 0 of `data`."""
    optimizer = keras.optimizers.Adam(LOWEST)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=False if on_tensorflow else "auto")
    rng = np.random.default_rng(seed)
    size = min(batch_size, len(data))
    rates = np.geomspace(LOWEST, HIGHEST, _STEPS)
    smoothed: list[float] = []
    average = 0.0
    for step, rate in enumerate(rates, start=1):
        rows = rng.choice(len(data), size, replace=False)
        optimizer.learning_rate = rate
        value = model.train_on_batch(data.gather(rows, 0), data.targets[rows])
        average = _MOMENTUM * average + (1 - _MOMENTUM) * float(np.ravel(value)[0])
        smoothed.append(average / (1 - _MOMENTUM**step))
        if not smoothed[-1] < _BLOWN_UP * min(smoothed):
            break
    return RangeTest(tuple(map(float, rates)), tuple(smoothed), _suggest(rates, smoothed))


def _suggest(rates: np.ndarray, losses: list[float]) -> float:
    """The lowest rate at which the loss falls almost as fast as anywhere before its least value."""
    until = max(int(np.argmin(losses)), 2)
    slopes = np.gradient(np.array(losses[: until + 1]))
    return float(rates[int(np.argmax(slopes <= _ALMOST * slopes.min()))])
