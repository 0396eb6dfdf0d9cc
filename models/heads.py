"""The new head: from the giant's features to the probabilities of our own classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from etils import epy

from models.splitting import one_or_all

with epy.lazy_imports():
    import keras

_NORMALIZATION = "normalization"
# Relative to the root mean square of all features.
_LEAST_DEVIATION = 1e-2


def build_head(
    *,
    features: int,
    num_classes: int,
    hidden: int = 0,
    dropout: float = 0.0,
    normalize: bool = True,
    seed: int = 0,
) -> keras.Model:
    """Dropout and a softmax layer, with one hidden layer before them if `hidden` is not 0.

    Features of different giants differ in scale by orders of magnitude, and all of one have a
    large mean in common. `adapt` a head to them, and one learning rate suits all.

    Args:
        features: length of the giant's feature vector.
        num_classes: number of probabilities.
        hidden: units of a hidden ReLU layer; 0 for none.
        dropout: the rate before each dense layer.
        normalize: bring every feature to mean 0 and variance 1 first; see `adapt`.
        seed: of the initial weights and the dropout.

    Returns:
        A model from (batch, features) to float32 probabilities, (batch, num_classes), whatever
        the precision the giant computes in.
    """
    inputs = keras.Input((features,), name="features")
    x: Any = inputs
    if normalize:
        x = keras.layers.Normalization(name=_NORMALIZATION)(x)
    initializer = keras.initializers.GlorotUniform
    if hidden:
        x = keras.layers.Dropout(dropout, seed=seed + 1, name="hidden_dropout")(x)
        x = keras.layers.Dense(
            hidden, "relu", kernel_initializer=initializer(seed + 2), name="hidden"
        )(x)
    x = keras.layers.Dropout(dropout, seed=seed + 3, name="dropout")(x)
    probabilities = keras.layers.Dense(
        num_classes,
        "softmax",
        kernel_initializer=initializer(seed + 4),
        dtype="float32",
        name="probabilities",
    )(x)
    return keras.Model(inputs, probabilities, name="head")


def adapt(head: keras.Model, features: np.ndarray) -> None:
    """Let a head that normalizes take mean and variance from `features`, (examples, features).

    A feature that hardly varies is not blown up: what makes it vary is rounding, which differs
    between the feature pass and the served model.
    """
    variance = features.var(axis=0)
    least = (_LEAST_DEVIATION * np.sqrt(np.mean(np.square(features)))) ** 2
    layer = head.get_layer(_NORMALIZATION)
    layer.set_weights([features.mean(axis=0), np.maximum(variance, least), np.zeros((), "int32")])
    layer.finalize_state()


def join(network: keras.Model, head: keras.Model) -> keras.Model:
    """`head(network(x))` as one model that shares the layers of both.

    The network always computes as in inference (no dropout or stochastic depth of its own),
    as the Keras guide to transfer learning has it; the head's dropout works in training.
    """
    inputs = one_or_all(network.inputs)
    return keras.Model(inputs, head(network(inputs, training=False)), name="classifier")
