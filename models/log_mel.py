"""Sounds as networks see them: log-mel spectrograms, computed by a convolution in the network.

So a SavedModel, LiteRT and ONNX all run what was trained with, and clients send samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

# Bins of a spectrum in which a band of any picture has a few.
_FINE = 4096


def mel_matrix(*, bins: int, mels: int, rate: int, low: float, high: float) -> np.ndarray:
    """(bins, mels): triangles with corners evenly apart on the mel scale (HTK's), not normalized.

    Args:
        bins: of a spectrum from 0 to half of `rate`, in Hz.
        low: and `high`: where the first begins and the last ends, in Hz.
    """
    edges = np.linspace(_mel(low), _mel(high), mels + 2)
    return _triangles(np.linspace(0.0, rate / 2, bins), _hertz(edges)).astype(np.float32)


def slaney_matrix(*, bins: int, mels: int, rate: int) -> np.ndarray:
    """(bins, mels): triangles of the same area with corners evenly apart on Slaney's mel scale.

    Slaney 1998, Auditory Toolbox: up to 1,000 Hz a mel is 200/3 Hz, then 27 are a factor of 6.4.
    """
    linear, step = 200.0 / 3.0, np.log(6.4) / 27.0
    highest = 15.0 + np.log(rate / 2 / 1000.0) / step
    edges = np.linspace(0.0, highest, mels + 2)
    corners = np.where(edges < 15.0, edges * linear, 1000.0 * np.exp(step * (edges - 15.0)))
    bank = _triangles(np.linspace(0.0, rate / 2, bins), corners)
    return np.asarray(bank * 2.0 / (corners[2:] - corners[:-2]), np.float32)


def _triangles(heard: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(bins, mels): each from a corner up to the next one and down to the one after, in Hz."""
    rising = (heard[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - heard[:, None]) / np.diff(corners)[1:]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def _mel(hertz: Any) -> Any:
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def _hertz(mel: Any) -> Any:
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


def _fourier(window: int, length: int) -> np.ndarray:
    """(window, 1, 2 · bins): a periodic Hann window times cosines, and times sines."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    angle = 2 * np.pi * np.outer(np.arange(window), np.arange(length // 2 + 1)) / length
    parts = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    return np.asarray((hann[:, None] * parts)[:, None], np.float32)


def magnitudes(samples: Any, *, window: int, hop: int, length: int, bank: np.ndarray) -> Any:
    """(batch, samples) → (batch, frames, mels), of frames that lie within the samples.

    Args:
        window: samples of a frame, and `hop` from one to the next.
        length: of the Fourier transform, in samples.
        bank: see `mel_matrix`.
    """
    return keras.ops.sqrt(powers(samples, window=window, hop=hop, length=length)) @ bank


def powers(samples: Any, *, window: int, hop: int, length: int) -> Any:
    """(batch, samples) → (batch, frames, bins): squared magnitudes, with a Hann window.

    Args: as of `magnitudes`.
    """
    bins = length // 2 + 1
    parts = keras.ops.conv(
        keras.ops.expand_dims(samples, -1), _fourier(window, length), strides=hop, padding="valid"
    )
    squared = keras.ops.square(parts)
    return squared[..., :bins] + squared[..., bins:]


@keras.saving.register_keras_serializable(package="shoulders")
class LogMel(keras.layers.Layer):
    """(batch, samples) → (batch, frames, mels, 1): logarithms of magnitudes plus a little.

    It has no weights, so that nothing can move it.
    """

    def __init__(
        self,
        *,
        rate: int,
        window: int,
        hop: int,
        length: int,
        mels: int,
        low: float,
        high: float,
        offset: float,
        **others: Any,
    ) -> None:
        """Args: as of `magnitudes` and `mel_matrix`; `offset` is what is added."""
        super().__init__(dtype="float32", trainable=False, **others)
        self._form: dict[str, Any] = {"rate": rate, "window": window, "hop": hop, "length": length}
        self._form |= {"mels": mels, "low": low, "high": high, "offset": offset}
        self._bank = mel_matrix(bins=length // 2 + 1, mels=mels, rate=rate, low=low, high=high)

    def call(self, samples: Any) -> Any:
        form = self._form
        found = magnitudes(
            samples,
            window=form["window"],
            hop=form["hop"],
            length=form["length"],
            bank=self._bank,
        )
        return keras.ops.expand_dims(keras.ops.log(found + form["offset"]), -1)

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config()) | self._form


@keras.saving.register_keras_serializable(package="shoulders")
class MelPicture(keras.layers.Layer):
    """(batch, samples) → (batch, frames, mels, 3): a picture in 0 … 255 for networks that read one.

    A spectrogram a channel, of a short, a longer and a long window, as Palanisamy et al. 2020
    (arXiv:2007.11154) give to networks with ImageNet weights: what is sharp in time, and what is
    sharp in pitch. From the loudest of a sound, and so however loud it is, down to `decibels`
    below. It has no weights, so that nothing can move it.
    """

    def __init__(
        self,
        *,
        rate: int,
        windows: Sequence[int],
        hop: int,
        mels: int,
        low: float,
        high: float,
        decibels: float = 80.0,
        **others: Any,
    ) -> None:
        """Args: as of `magnitudes`, which see; three `windows`."""
        super().__init__(dtype="float32", trainable=False, **others)
        self._form: dict[str, Any] = {
            "rate": rate,
            "windows": list(windows),
            "hop": hop,
            "mels": mels,
        }
        self._form |= {"low": low, "high": high, "decibels": decibels}

    def call(self, samples: Any) -> Any:
        form, size = self._form, samples.shape[-1]
        frames = -(-size // form["hop"])
        channels = []
        for window in form["windows"]:
            length = 2 ** (window - 1).bit_length()
            over = max(0, (frames - 1) * form["hop"] + window - size)
            padded = keras.ops.pad(samples, [[0, 0], [over // 2, over - over // 2]])
            bank = _fine_bank(length // 2 + 1, form)
            # A longer window has greater sums.
            found = magnitudes(padded, window=window, hop=form["hop"], length=length, bank=bank)
            channels.append(found[:, :frames] / window)
        loud = 20.0 / math.log(10) * keras.ops.log(keras.ops.stack(channels, axis=-1) + 1e-10)
        top = keras.ops.max(loud, axis=(1, 2), keepdims=True)
        share = keras.ops.maximum(loud - top, -form["decibels"]) / form["decibels"] + 1.0
        return 255.0 * share

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config()) | self._form


@keras.saving.register_keras_serializable(package="shoulders")
class WhisperMel(keras.layers.Layer):
    """(batch, samples at 16 kHz) → (batch, frames, mels), as Whisper reads it.

    A frame for each 10 ms around its middle, powers in Slaney's bands, from the loudest down to 8
    powers of ten below (Radford et al. 2022, arXiv:2212.04356, and its published program).
    """

    _WINDOW, _HOP, _RATE = 400, 160, 16_000

    def __init__(self, *, mels: int, **others: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **others)
        self._mels = mels
        self._bank = slaney_matrix(bins=self._WINDOW // 2 + 1, mels=mels, rate=self._RATE)

    def call(self, samples: Any) -> Any:
        half, frames = self._WINDOW // 2, samples.shape[-1] // self._HOP
        padded = keras.ops.pad(samples, [[0, 0], [half, half]], mode="reflect")
        squared = powers(padded, window=self._WINDOW, hop=self._HOP, length=self._WINDOW)
        found = keras.ops.maximum(squared[:, :frames] @ self._bank, 1e-10)
        loud = keras.ops.log(found) / math.log(10)
        top = keras.ops.max(loud, axis=(1, 2), keepdims=True)
        return (keras.ops.maximum(loud, top - 8.0) + 4.0) / 4.0

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config()) | {"mels": self._mels}


def _fine_bank(bins: int, form: Mapping[str, Any]) -> np.ndarray:
    """(bins, mels) of triangles that may be narrower than the bins of a short window are apart.

    What is between two bins is taken to be on the line between them, so that no band is empty.
    """
    fine = _FINE + 1
    bank = mel_matrix(
        bins=fine, mels=form["mels"], rate=form["rate"], low=form["low"], high=form["high"]
    )
    at = np.linspace(0, bins - 1, fine)
    before = np.minimum(at.astype(int), bins - 2)
    share = at - before
    between = np.zeros((bins, fine))
    between[before, np.arange(fine)] = 1.0 - share
    between[before + 1, np.arange(fine)] += share
    return np.asarray(between @ bank * (bins / fine), np.float32)


def _without(config: dict[str, Any]) -> dict[str, Any]:
    """What the layers say themselves."""
    return {key: value for key, value in config.items() if key not in ("dtype", "trainable")}
