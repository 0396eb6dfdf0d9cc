"""Long examples as windows: a network hears each, and the mean of its vectors is the example's.

Between the two layers here, the first axis is that of all windows of a batch; see
`splitting.split`, which folds what is cut there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from models.waveforms import length

NAME = "windows"


@keras.saving.register_keras_serializable(package="shoulders")
class Windows(keras.layers.Layer):
    """(batch, samples) → (batch · windows, size), and (batch · windows, 1): 1 for each that counts.

    The first counts, and every one of which at least half is before the end of the sound.
    """

    def __init__(self, *, size: int, hop: int, count: int, **others: Any) -> None:
        """Args: `size` of a window and `hop` from one to the next, in samples; `count` of them."""
        super().__init__(trainable=False, name=NAME, **others)
        self.size, self.hop, self.count = size, hop, count

    def call(self, samples: Any) -> Any:
        starts = [number * self.hop for number in range(self.count)]
        cut = keras.ops.stack([samples[:, at : at + self.size] for at in starts], axis=1)
        ends = keras.ops.array([0] + [at + self.size // 2 for at in starts[1:]], dtype="int32")
        counts = keras.ops.cast(ends[None] < length(samples), samples.dtype)
        return keras.ops.reshape(cut, (-1, self.size)), keras.ops.reshape(counts, (-1, 1))

    def compute_output_spec(self, samples: Any) -> Any:
        # JAX cannot tell what becomes of a batch of unknown size; so in all layers here.
        kind = samples.dtype
        return keras.KerasTensor((None, self.size), kind), keras.KerasTensor((None, 1), kind)

    def get_config(self) -> dict[str, Any]:
        given: dict[str, Any] = super().get_config()
        given.pop("name")
        return given | {"size": self.size, "hop": self.hop, "count": self.count}


@keras.saving.register_keras_serializable(package="shoulders")
class MeanOfWindows(keras.layers.Layer):
    """(batch · windows, features) and (batch · windows, 1) → (batch, features)."""

    def __init__(self, count: int, **others: Any) -> None:
        super().__init__(trainable=False, **others)
        self._count = count

    def call(self, vectors: Any, counts: Any) -> Any:
        weights = keras.ops.cast(_folded(counts, self._count), vectors.dtype)
        summed = keras.ops.sum(_folded(vectors, self._count) * weights, axis=1)
        return summed / keras.ops.sum(weights, axis=1)

    def compute_output_spec(self, vectors: Any, counts: Any) -> Any:
        del counts
        return keras.KerasTensor((None, *vectors.shape[1:]), vectors.dtype)

    def get_config(self) -> dict[str, Any]:
        given: dict[str, Any] = super().get_config()
        return given | {"count": self._count}


@keras.saving.register_keras_serializable(package="shoulders")
class Fold(keras.layers.Layer):
    """(batch · count, …) → (batch, count, …)."""

    def __init__(self, count: int, **others: Any) -> None:
        super().__init__(trainable=False, **others)
        self._count = count

    def call(self, tensor: Any) -> Any:
        return _folded(tensor, self._count)

    def compute_output_spec(self, tensor: Any) -> Any:
        return keras.KerasTensor((None, self._count, *tensor.shape[1:]), tensor.dtype)

    def get_config(self) -> dict[str, Any]:
        given: dict[str, Any] = super().get_config()
        return given | {"count": self._count}


@keras.saving.register_keras_serializable(package="shoulders")
class Unfold(keras.layers.Layer):
    """(batch, count, …) → (batch · count, …)."""

    def call(self, tensor: Any) -> Any:
        return keras.ops.reshape(tensor, (-1, *tensor.shape[2:]))

    def compute_output_spec(self, tensor: Any) -> Any:
        return keras.KerasTensor((None, *tensor.shape[2:]), tensor.dtype)


def _folded(tensor: Any, count: int) -> Any:
    return keras.ops.reshape(tensor, (-1, count, *tensor.shape[1:]))


def mean(network: keras.Model) -> keras.Model:
    """`network`, which hears `Windows`, with the mean over them as its output."""
    layer = network.get_layer(NAME)
    pooled = MeanOfWindows(layer.count, name="mean_of_windows")(network.output, layer.output[1])
    whole = keras.Model(network.inputs[0], pooled, name=network.name)
    whole.trainable = False
    return whole


def find(layers: Sequence[Any]) -> Windows | None:
    """The layer that makes windows, if there is one."""
    return next((layer for layer in layers if isinstance(layer, Windows)), None)
