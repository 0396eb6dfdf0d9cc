"""The frozen part at work, in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from etils import epy

from components.frozen.contest import Contest
from models import distribution, folding, hardware
from models.splitting import one_or_all

with epy.lazy_imports():
    import tensorflow as tf

    from models import inference


class Forward:
    """A frozen network from decoded inputs to some of its tensors, in batches of one size.

    Args:
        examples: how many there are to come, if another engine may prove to be faster.
    """

    def __init__(
        self, network: keras.Model, tensors: list[Any], batch_size: int, examples: int = 0
    ) -> None:
        wanted = keras.Model(one_or_all(network.inputs), tensors)
        devices = distribution.replicas()
        self._run = _compiled(wanted, devices)
        self._batch_size = -(-batch_size // devices) * devices
        if keras.backend.backend() == "tensorflow" and devices == 1 and not hardware.has_gpu():
            self._run = Contest(wanted, self._run, -(-examples // self._batch_size))

    @property
    def engine(self) -> str:
        """What computes; empty for the backend."""
        return getattr(self._run, "engine", "")

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """(batch, …) of each input, at most `batch_size` of them → each tensor, (batch, …)."""
        count = len(inputs[0])
        missing = self._batch_size - count
        # Always as many, or the backend would compile everything again for the last batch.
        full = [
            np.concatenate([x, x[:1].repeat(missing, axis=0)]) if missing else x for x in inputs
        ]
        return [output[:count] for output in self._run(full)]


def _compiled(network: keras.Model, devices: int) -> Callable[[list[np.ndarray]], list[Any]]:
    """A function of arrays, one for each of the network's inputs and outputs."""
    if keras.backend.backend() == "tensorflow" and devices == 1:
        answer = inference.concrete(network)
        return lambda inputs: [tensor.numpy() for tensor in answer(*map(tf.constant, inputs))]
    folded = folding.fold(network)
    folded.compile(jit_compile=hardware.jit_compile())
    return lambda inputs: keras.tree.flatten(
        folded.predict_on_batch(distribution.shared(one_or_all(inputs)))
    )
