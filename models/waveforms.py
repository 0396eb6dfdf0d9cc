"""What networks that read samples need to know of them; layers without weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def length(samples: Any) -> Any:
    """(batch, samples) → (batch, 1) int32: up to the last sample that is not 0, and at least 1.

    What comes later is what a sound was filled up with.
    """
    places = keras.ops.arange(1, samples.shape[-1] + 1, dtype="int32")
    there = keras.ops.cast(keras.ops.not_equal(samples, 0.0), "int32")
    return keras.ops.maximum(keras.ops.max(there * places, axis=1, keepdims=True), 1)


@keras.saving.register_keras_serializable(package="shoulders")
class Heard(keras.layers.Layer):
    """(batch, samples) → the same, and (batch, places) int32: 1 where there is some of the sound.

    The length of the sound is counted through the convolutions that follow, as theirs is: of a
    sound and of silence after it there are as many places with a 1 as there are places at all of
    the sound alone. Both at once, so that what is cut later has the places, and not the samples.
    """

    def __init__(
        self, convolutions: Sequence[tuple[int, int]], *, standardized: bool = False, **others: Any
    ) -> None:
        """
        Args:
            convolutions: the kernel's size and the stride of each, without padding.
            standardized: give the sound mean 0 and variance 1.
        """
        super().__init__(trainable=False, **others)
        self._convolutions = [tuple(one) for one in convolutions]
        self._standardized = standardized

    def call(self, samples: Any) -> Any:
        whole, places = length(samples), samples.shape[-1]
        seen = whole
        for size, stride in self._convolutions:
            seen = keras.ops.maximum((seen - size) // stride + 1, 1)
            places = (places - size) // stride + 1
        there = keras.ops.cast(keras.ops.arange(places, dtype="int32")[None] < seen, "int32")
        return (_standardized(samples, whole) if self._standardized else samples), there

    def get_config(self) -> dict[str, Any]:
        given: dict[str, Any] = super().get_config()
        own = {"convolutions": self._convolutions, "standardized": self._standardized}
        return given | own


def _standardized(samples: Any, whole: Any) -> Any:
    """With mean 0 and variance 1 up to `whole`, and 0 after it."""
    there = keras.ops.arange(samples.shape[-1], dtype="int32")[None] < whole
    there, count = keras.ops.cast(there, samples.dtype), keras.ops.cast(whole, samples.dtype)
    mean = keras.ops.sum(samples * there, axis=1, keepdims=True) / count
    centred = (samples - mean) * there
    variance = keras.ops.sum(keras.ops.square(centred), axis=1, keepdims=True) / count
    return centred / keras.ops.sqrt(variance + 1e-7)
