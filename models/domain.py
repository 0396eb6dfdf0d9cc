"""How far data is from what a network was trained on, by what it remembers of that itself.

BatchNormalization keeps the mean and the variance of every channel over what it was trained on,
which tell domains apart (Li et al. 2016, arXiv:1603.04779). Of three networks trained on ImageNet
photographs of ants are at 0.14 to 0.17, of foods at 0.24 to 0.27, solar cells (grey, one kind of
texture) at 0.9 to 1.0, scikit-learn's digits at 1.2, noise at 1.2 to 1.6, black at 2.4 and more.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from models.splitting import one_or_all

NEAR, FAR = 0.4, 0.8
Place = Literal["near", "some way off", "far"]


def distance(network: keras.Model, inputs: Any) -> float | None:
    """The mean over layers and channels of |log(variance now / variance then)|.

    None where the network has no BatchNormalization over (batch, …, channels).

    Args:
        inputs: some examples, as the network reads them.
    """
    layers = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization) and len(layer.input.shape) == 4
    ]
    if not layers:
        return None
    spreads = [ops.var(layer.input, axis=(0, 1, 2)) for layer in layers]
    now = keras.Model(one_or_all(network.inputs), spreads)(inputs, training=False)
    apart = []
    for layer, spread in zip(layers, now if len(layers) > 1 else [now], strict=True):
        before = ops.convert_to_numpy(layer.moving_variance) + layer.epsilon
        after = ops.convert_to_numpy(spread) + layer.epsilon
        apart.append(np.abs(np.log(after / before)).mean())
    return float(np.mean(apart))


def place(apart: float) -> Place:
    """In words."""
    return "near" if apart < NEAR else "far" if apart > FAR else "some way off"
