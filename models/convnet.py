"""A small convolutional network for small pictures, for tests, and to be beaten by giants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def small_convnet(
    *,
    include_top: bool,
    weights: str | None,
    input_shape: tuple[int, int, int],
    input_tensor: Any = None,
    filters: Sequence[int] = (32, 64, 96),
) -> keras.Model:
    """Blocks of convolution, BatchNormalization and ReLU, called like Keras Applications.

    With these filters it has 75,000 weights.

    The signature is that of `keras.applications`, so that it is a row of the same table; there
    are no published weights and there is no classifier to include.

    Args:
        include_top: must be False.
        weights: must be None.
        input_shape: (height, width, 3).
        input_tensor: to be read instead of an input of that shape.
        filters: of each block.
    """
    if include_top or weights is not None:
        raise ValueError(f"small_convnet has neither top nor weights, got {include_top}, {weights}")
    images = keras.Input(input_shape, name="image") if input_tensor is None else input_tensor
    x: Any = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(images)
    for block, count in enumerate(filters, start=1):
        name = f"block{block}"
        x = keras.layers.Conv2D(count, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    inputs = images if input_tensor is None else keras.utils.get_source_inputs(images)
    return keras.Model(inputs, x, name="small_convnet")
