"""What may move in training, and the proof of what did."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from etils import epy

with epy.lazy_imports():
    import keras


def unfreeze(network: keras.Model, *, batch_normalization: bool = False) -> None:
    """Make every layer of `network` trainable, BatchNormalization only if told to.

    `network(x, training=False)` does not protect the moving statistics in Keras 3.15: once the
    layer is trainable, `fit` moves them (keras-team/keras#23364). Only `trainable = False` on
    the layer itself holds.
    """
    for layer in _leaves(network):
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = batch_normalization or not normalizes


def snapshot(network: keras.Model) -> dict[str, np.ndarray]:
    """Every weight of `network` by a name that is unique in it."""
    return {
        f"{position}/{variable.path}": np.array(variable)
        for position, variable in enumerate(network.weights)
    }


def movement(network: keras.Model, before: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest change of each weight that is not bit-identical to what `before` holds."""
    return {
        name: float(np.max(np.abs(after.astype("float64") - before[name])))
        for name, after in snapshot(network).items()
        if not np.array_equal(after, before[name])
    }


def frozen_names(network: keras.Model, trained: keras.Model) -> set[str]:
    """The weights of `network`, named as `snapshot` does, that training `trained` must not move."""
    trainable = {id(variable) for variable in trained.trainable_variables}
    random_states = {id(v) for v in network.weights if "seed_generator" in v.path}
    return {
        f"{position}/{variable.path}"
        for position, variable in enumerate(network.weights)
        if id(variable) not in trainable | random_states
    }


def _leaves(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer
