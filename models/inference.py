"""A network that only answers: folded, and one function of TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models import folding
from models.splitting import one_or_all

# A graph is one protocol buffer, which cannot be greater than 2 GB: of more weights than this, in
# bytes, none becomes a constant.
MOST_CONSTANT = 1 << 30

# Tensors → tensors, by position.
Concrete = Callable[..., Sequence[Any]]


def concrete(
    network: keras.Model,
    head: keras.Model | None = None,
    inputs: Sequence[tf.TensorSpec] | None = None,
    *,
    folds: bool = True,
    constant: bool = False,
) -> Concrete:
    """`network`, and a head on what it gives, as one function of TensorFlow, traced once.

    With a head, it gives what the head says, and what it said that of.

    With frozen BatchNormalization folded into what is before it, TensorFlow's graph optimizer makes
    one kernel of a convolution, its bias and its activation.

    Args:
        network: a functional model.
        inputs: a specification of each of its inputs; as the model has them where None.
        folds: whether frozen BatchNormalization is folded.
        constant: whether its weights become constants: what follows from them alone, such as folded
            kernels, is computed once. One example alone takes two thirds of the time then, and a
            batch as long.
    """
    folded = folding.fold(network) if folds else network
    if inputs is None:
        inputs = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in network.inputs]

    weights = [*network.weights, *(head.weights if head else ())]
    if sum(4 * np.prod(weight.shape) for weight in weights) > MOST_CONSTANT:
        constant = False
    values = [(weight, weight.numpy()) for weight in weights] if constant else []

    def answer(*given: Any) -> list[Any]:
        with _constants(values) if constant else contextlib.nullcontext():
            outputs = folded(one_or_all(given), training=False)
            flat: list[Any] = keras.tree.flatten(outputs)
            return [head(outputs, training=False), *flat] if head else flat

    traced: Concrete = tf.function(answer, autograph=False).get_concrete_function(*inputs)
    return traced if constant else _Kept(traced, weights)


def _constants(values: Sequence[tuple[Any, np.ndarray]]) -> keras.StatelessScope:
    """Where a layer reads one of these weights, it gets a constant of the graph."""
    return keras.StatelessScope([(w, tf.constant(value, w.dtype)) for w, value in values])


class _Kept(tf.Module):
    """A function, and the variables that it reads."""

    def __init__(self, function: Concrete, weights: Sequence[Any]) -> None:
        super().__init__()
        self._function, self._variables = function, [weight.value for weight in weights]

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        return self._function(*inputs)
