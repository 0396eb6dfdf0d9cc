"""A network that only answers: folded and compiled, its weights constants of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from models import folding
from models.splitting import one_or_all

# A graph is one protocol buffer, which cannot be greater than 2 GB: of more weights than this, in
# bytes, none becomes a constant.
MOST_CONSTANT = 1 << 30

# Tensors → tensors, by position.
Concrete = Callable[..., Sequence[Any]]


def concrete(network: keras.Model, inputs: Sequence[tf.TensorSpec] | None = None) -> Concrete:
    """`network` as one function of TensorFlow, traced once.

    Frozen BatchNormalization is folded into what is before it. With constant weights TensorFlow's
    graph optimizer computes what follows from them once, and makes one kernel of a convolution, its
    bias and its activation.

    Args:
        network: a functional model.
        inputs: a specification of each of its inputs; as the model has them where None.
    """
    folded = folding.fold(network)
    if inputs is None:
        inputs = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in network.inputs]

    def answer(*given: Any) -> list[Any]:
        return keras.tree.flatten(folded(one_or_all(given), training=False))

    traced = tf.function(answer, autograph=False).get_concrete_function(*inputs)
    size = sum(np.prod(weight.shape) * 4 for weight in network.weights)
    if size > MOST_CONSTANT:
        return _Kept(traced, folded)
    return convert_variables_to_constants_v2(traced)


class _Kept(tf.Module):
    """A function, and the variables that it reads."""

    def __init__(self, function: Concrete, network: keras.Model) -> None:
        super().__init__()
        self._function, self._variables = function, [v.value for v in network.variables]

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        return self._function(*inputs)
