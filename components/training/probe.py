"""What a step of training takes, measured before there is any."""

from __future__ import annotations

import time

import numpy as np
from etils import epy

from components.training.data import TrainingData
from components.training.phases import PhaseConfig

with epy.lazy_imports():
    import keras

    from models import optimization, training

# So many steps say what one takes.
_PROBED = 8


def step_seconds(model: keras.Model, data: TrainingData, config: PhaseConfig, seed: int) -> float:
    """What a step of training `model` takes, once compiled; its weights are what they were.

    The least of a few: the first one is compiled, and of ragged batches others are, too.
    """
    before = [keras.ops.convert_to_numpy(variable.value) for variable in model.variables]
    few = data.training.first(_PROBED * config.batch_size)
    ends: list[float] = []
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
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)  # The states of dropout, too.
    keras.utils.set_random_seed(seed)
    between = np.diff(ends)
    return float(between.min()) if len(between) else 1e-3
