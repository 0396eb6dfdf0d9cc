"""What may move in training, and the proof of what did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epy

with epy.lazy_imports():
    import keras


def unfreeze(layers: Iterable[keras.layers.Layer], *, batch_normalization: bool = False) -> None:
    """Make `layers` and the layers within them trainable, BatchNormalization only if told to.

    `network(x, training=False)` does not protect the moving statistics in Keras 3.15: once the
    layer is trainable, `fit` moves them (keras-team/keras#23364). Only `trainable = False` on
    the layer itself holds.
    """
    for layer in _leaves(layers):
        for inner in layer._flatten_layers():  # A block may be one layer that hides others.
            normalizes = isinstance(inner, keras.layers.BatchNormalization)
            inner.trainable = batch_normalization or not normalizes


def named_weights(*models: keras.Model) -> dict[str, Any]:
    """Every weight of the models once, by its path, numbered where several have the same."""
    unique = {id(variable): variable for model in models for variable in model.weights}
    named: dict[str, Any] = {}
    for variable in unique.values():
        name, number = variable.path, 2
        while name in named:
            name, number = f"{variable.path} ({number})", number + 1
        named[name] = variable
    return named


def snapshot(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The values of what `named_weights` gives."""
    return {name: np.array(keras.ops.convert_to_numpy(v)) for name, v in weights.items()}


def movement(weights: Mapping[str, Any], before: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest change of each weight that is not bit-identical to what `before` holds."""
    return {
        name: float(np.max(np.abs(after.astype("float64") - before[name])))
        for name, after in snapshot(weights).items()
        if not np.array_equal(after, before[name])
    }


def frozen_names(model: keras.Model, weights: Mapping[str, Any]) -> set[str]:
    """Which of `weights` must not move when `model` is trained.

    All that are not trainable, but for the statistics of BatchNormalization that is.
    """
    statistics = [
        variable
        for leaf in _leaves(model.layers)
        for layer in leaf._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in layer.non_trainable_variables
    ]
    free = {id(variable) for variable in [*model.trainable_variables, *statistics]}
    return {name for name, variable in weights.items() if id(variable) not in free}


def _leaves(layers: Iterable[keras.layers.Layer]) -> Iterator[keras.layers.Layer]:
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer.layers)
        else:
            yield layer
