"""The new head: from the giant's features to the probabilities of our own classes."""

from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def build_head(
    *, features: int, num_classes: int, hidden: int = 0, dropout: float = 0.0, seed: int = 0
) -> keras.Model:
    """Dropout and a softmax layer, with one hidden layer before them if `hidden` is not 0.

    Args:
        features: length of the giant's feature vector.
        num_classes: number of probabilities.
        hidden: units of a hidden ReLU layer; 0 for none.
        dropout: the rate before each dense layer.
        seed: of the initial weights and the dropout.

    Returns:
        A model from (batch, features) to float32 probabilities, (batch, num_classes), whatever
        the precision the giant computes in.
    """
    inputs = keras.Input((features,), name="features")
    x: Any = inputs
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


def join(network: keras.Model, head: keras.Model) -> keras.Model:
    """`head(network(x))` as one model that shares the layers of both."""
    outputs = head(network(network.inputs, training=False), training=False)
    return keras.Model(network.inputs, outputs, name="classifier")
