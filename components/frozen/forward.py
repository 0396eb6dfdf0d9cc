"""The frozen part at work, in batches."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from models import distribution, folding, hardware
from models.splitting import one_or_all


class Forward:
    """A frozen network from decoded inputs to some of its tensors, in batches of one size."""

    def __init__(self, network: keras.Model, tensors: list[Any], batch_size: int) -> None:
        self._model = folding.fold(keras.Model(one_or_all(network.inputs), tensors))
        self._model.compile(jit_compile=hardware.jit_compile())
        devices = distribution.replicas()
        self._batch_size = -(-batch_size // devices) * devices

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """(batch, …) of each input, at most `batch_size` of them → each tensor, (batch, …)."""
        count = len(inputs[0])
        missing = self._batch_size - count
        # Always as many, or the backend would compile everything again for the last batch.
        full = [
            np.concatenate([x, x[:1].repeat(missing, axis=0)]) if missing else x for x in inputs
        ]
        batch = distribution.shared(one_or_all(full))
        outputs = keras.tree.flatten(self._model.predict_on_batch(batch))
        return [output[:count] for output in outputs]
