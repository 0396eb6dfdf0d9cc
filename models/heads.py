"""The new head: from the giant's features to what is asked about each of our own targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from etils import epy

from models.splitting import one_or_all

with epy.lazy_imports():
    import keras

    from models import objectives

NORMALIZATION = "normalization"


# What a target's outputs are: their name, how many there are, and what makes them of numbers.
Outputs = tuple[str, int, Literal["softmax", "sigmoid", "linear"]]


def build_head(
    *,
    features: int,
    outputs: Sequence[Outputs],
    hidden: int = 0,
    dropout: float = 0.0,
    normalize: bool = True,
    unit: bool = False,
    balance: bool = False,
    seed: int = 0,
) -> keras.Model:
    """Dropout and a dense layer for each target, with one hidden layer before if `hidden` is not 0.

    Features of different giants differ in scale by orders of magnitude, and all of one have a
    large mean in common. `adapt` a head to them, and one learning rate suits all.

    The last layers begin at zero, as in google-research/big_vision: what they end with has come
    from the examples alone, not from random weights that few examples cannot outvote.

    Args:
        features: length of the giant's feature vector.
        hidden: units of a hidden ReLU layer; 0 for none.
        dropout: the rate before each dense layer.
        normalize: bring the features to mean 0 and a deviation of 1 first; see `adapt`.
        unit: make unit vectors of what is read then.
        balance: hold a learned weight for each target's loss; see `objectives.Balance`.
        seed: of the hidden layer's initial weights and the dropout.

    Returns:
        A model from (batch, features) to float32 outputs, those of one target after the other's,
        (batch, sum of the outputs), whatever the precision the giant computes in.
    """
    inputs = keras.Input((features,), name="features")
    x: Any = inputs
    if normalize:
        x = keras.layers.Normalization(name=NORMALIZATION)(x)
    if unit:
        x = keras.layers.UnitNormalization(name="unit")(x)
    if hidden:
        x = keras.layers.Dropout(dropout, seed=seed + 1, name="hidden_dropout")(x)
        initializer = keras.initializers.GlorotUniform(seed + 2)
        x = keras.layers.Dense(hidden, "relu", kernel_initializer=initializer, name="hidden")(x)
    x = keras.layers.Dropout(dropout, seed=seed + 3, name="dropout")(x)
    last = [
        keras.layers.Dense(
            units, activation, kernel_initializer="zeros", dtype="float32", name=name
        )(x)
        for name, units, activation in outputs
    ]
    whole = last[0] if len(last) == 1 else keras.layers.Concatenate(name="targets")(last)
    if balance:
        whole = objectives.Balance(len(last))(whole)
    return keras.Model(inputs, whole, name="head")


def adapt(head: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Let a head that normalizes take its statistics from batches of (examples, features).

    Each feature loses its own mean, and all are divided by one number, the mean of their
    deviations: what varies little tells little, and is not blown up to the size of the rest.
    """
    count, total, squares = 0, np.float64(0), np.float64(0)
    for batch in batches:
        features = batch.astype("float64")
        count += len(features)
        total = total + features.sum(axis=0)
        squares = squares + np.square(features).sum(axis=0)
    mean = np.asarray(total / count)
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0)).mean() or 1.0
    standardize(head, mean, np.full_like(mean, deviation))


def begin_at_random(head: keras.Model, seed: int) -> None:
    """Let the last layers of a head begin as Keras's own would: Glorot & Bengio 2010, uniform."""
    for number, layer in enumerate(head.layers):
        if isinstance(layer, keras.layers.Dense):
            initializer = keras.initializers.GlorotUniform(seed + 4 + number)
            layer.kernel.assign(initializer(layer.kernel.shape))


def standardize(head: keras.Model, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Let a head that normalizes take off (features,) `mean`, and divide by `deviation`."""
    layer = head.get_layer(NORMALIZATION)
    layer.set_weights([mean, np.square(deviation), np.zeros((), "int32")])
    layer.finalize_state()


def join(network: keras.Model, head: keras.Model) -> keras.Model:
    """`head(network(x))` as one model that shares the layers of both.

    The network always computes as in inference (no dropout or stochastic depth of its own),
    as the Keras guide to transfer learning has it; the head's dropout works in training.
    """
    inputs = one_or_all(network.inputs)
    return keras.Model(inputs, head(network(inputs, training=False)), name="classifier")
