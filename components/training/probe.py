"""What a step of training takes, measured before there is any."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
from etils import epy

from components.training.data import TrainingData
from components.training.phases import PhaseConfig

with epy.lazy_imports():
    import keras

    from models import optimization, training

# So many steps say what one takes.
_PROBED = 8


@contextlib.contextmanager
def untouched(model: keras.Model, seed: int) -> Iterator[None]:
    """Whatever is done to `model` in this context is undone, and what was drawn is drawn again."""
    before = [keras.ops.convert_to_numpy(variable.value) for variable in model.variables]
    yield
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)  # The states of dropout, too.
    keras.utils.set_random_seed(seed)


def step_seconds(model: keras.Model, data: TrainingData, config: PhaseConfig, seed: int) -> float:
    """What a step of training `model` takes, once compiled; its weights are what they were.

    The least of a few: the first one is compiled, and of ragged batches others are, too.
    """
    few = data.training.first(_PROBED * config.batch_size)
    ends: list[float] = []
    with untouched(model, seed):
        training.train(
            model,
            few,
            data.validation.first(1),
            optimizer=optimization.build_optimizer(
                learning_rate=float(config.learning_rate),
                steps=_PROBED,
                warmup_steps=0,
                weight_decay=config.weight_decay,
                clip_norm=config.clip_norm,
                ema=config.ema,
            ),
            objective=data.objective,
            length=training.Length(1, config.batch_size),
            seed=seed,
            on_step=lambda *_: ends.append(time.monotonic()),
        )
    between = np.diff(ends)
    return float(between.min()) if len(between) else 1e-3
