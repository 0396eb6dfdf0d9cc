"""YAMNet: MobileNet v1 on log-mel spectrograms, trained on AudioSet's 521 kinds of sounds.

https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (Apache-2.0); MobileNets:
Howard et al. 2017 (arXiv:1704.04861), AudioSet: Gemmeke et al. 2017.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import keras
import numpy as np

from models.log_mel import LogMel
from models.mistakes import Mistake

RATE = 16_000
# What it was trained on: 96 frames.
SECONDS = 0.975
# Stride and filters of each layer after the first, which has 32 filters and stride 2.
_LAYERS = (
    *((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *((1, 512),) * 5,
    *((2, 1024), (1, 1024)),
)
_EPSILON = 1e-4
BLOCK = r"layer\d+"


def yamnet(samples: Any = None, *, pooling: Literal["avg", "max"] = "avg") -> keras.Model:
    """(batch, samples at 16 kHz) → (batch, 1024), the mean, or the most, of the whole.

    Of what is longer than 0.975 s it is computed as one picture, where the published program cuts
    it into patches that overlap by half, and takes the mean of what it says of each: see
    `models.windows`.

    Args:
        samples: a Keras tensor to be heard; an input of 0.975 s where None.
    """
    if samples is None:
        samples = keras.Input((round(SECONDS * RATE),), name="samples")
    x: Any = LogMel(
        rate=RATE,
        window=400,
        hop=160,
        length=512,
        mels=64,
        low=125.0,
        high=7500.0,
        offset=0.001,
        name="log_mel",
    )(samples)
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="layer1_conv")(x)
    x = _normalized(x, "layer1_conv")
    for number, (stride, filters) in enumerate(_LAYERS, start=2):
        name = f"layer{number}_depthwise_conv"
        x = keras.layers.DepthwiseConv2D(
            3, strides=stride, padding="same", use_bias=False, name=name
        )(x)
        x = _normalized(x, name)
        name = f"layer{number}_pointwise_conv"
        x = keras.layers.Conv2D(filters, 1, padding="same", use_bias=False, name=name)(x)
        x = _normalized(x, name)
    pool = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    x = pool(name="pooling")(x)
    [source] = keras.utils.get_source_inputs(samples)
    return keras.Model(source, x, name="yamnet")


def _normalized(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(scale=False, epsilon=_EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def load(network: keras.Model, path: Path) -> None:
    """Read the published `.h5` into `network`, or an `.npz` in which BatchNormalization is folded
    into the convolutions, or raise a `Mistake`."""
    known = _read(path)
    for layer in network.layers:
        if layer.weights:
            where = layer.name.removesuffix("_bn").replace("_", "/", 1)
            normalizes = layer.name.endswith("_bn")
            layer.set_weights(
                [_of(known, path, where, names) for names in (_BN if normalizes else _KERNEL)]
            )


def head(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(1024, 521) and (521,): the kernel and the bias of the sigmoids that it was trained with."""
    known = _read(path)
    return _of(known, path, "logits", ("kernel",)), _of(known, path, "logits", ("bias",))


# What a convolution has, and what comes after it; each by any of these names.
_KERNEL = (("kernel", "depthwise_kernel"),)
_BN = (("bn/beta", "bias"), ("bn/moving_mean",), ("bn/moving_variance",))
_NAME = re.compile(
    r"((?:layer\d+/(?:depthwise_|pointwise_)?conv|logits)(?:/bn)?"
    r"/(?:kernel|depthwise_kernel|bias|beta|moving_mean|moving_variance))(?::0)?$"
)


def _of(known: dict[str, np.ndarray], path: Path, where: str, names: Sequence[str]) -> np.ndarray:
    for name in names:
        if f"{where}/{name}" in known:
            return known[f"{where}/{name}"]
    bias = known.get(f"{where}/bias")
    if bias is not None and names[0].startswith("bn/moving"):
        # Folded into the convolution: it is as if there were nothing to normalize.
        value = 0.0 if names[0].endswith("mean") else 1.0 - _EPSILON
        return np.full_like(bias, value)
    raise Mistake(f"model.weights must be YAMNet's, got {str(path)!r} without {where}/{names[0]}")


# The largest array has 1024 x 1024.
_MOST_NUMBERS = 4_000_000


def _read(path: Path) -> dict[str, np.ndarray]:
    """The names of weights, as the published program has them → what they are."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, value: Any) -> None:
        if getattr(value, "external", None) or getattr(value, "is_virtual", False):
            raise ValueError(f"{name} must have its own numbers, got those of another file")
        if (known := _NAME.search(name)) and hasattr(value, "shape"):
            if value.size > _MOST_NUMBERS:  # A few bytes may say that they are many.
                raise ValueError(f"{name} must have at most {_MOST_NUMBERS} numbers")
            found[known[1]] = np.asarray(value, np.float32)

    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                for name in arrays.files:
                    take(name, arrays[name])
        else:
            with h5py.File(path) as file:
                file.visititems(take)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(f"model.weights must be YAMNet's, got {str(path)!r}: {reason}") from error
    return found
