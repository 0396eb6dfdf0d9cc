"""Sounds as a person sees and hears them, with the seconds that counted."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from etils import epy

from components.artifacts import AssembledModel
from components.modalities.sounds import raw as sounds
from components.modalities.sounds.form import Sound

with epy.lazy_imports():
    from PIL import Image

    from models import log_mel

legend = (
    "The higher a line, the louder. Below it, what is heard from low to high, the brighter the "
    "louder. Where it is red, the answer given is less probable, or a number is less, without "
    "that part."
)
explained = 4
# Bars of a wave, its size in pixels, parts that are silenced, and seconds that are shown.
_BARS, _WIDTH, _HEIGHT, _PARTS, _SHOWN = 160, 320, 80, 16, 10.0
# Of a spectrogram: samples of a frame, how many are shown, and in how many bands.
_FRAME, _COLUMNS, _BANDS = 512, 240, 64
# From silent to loud, as light as loud in every eye: viridis, after van der Walt and Smith 2015.
_AT = (0.0, 0.25, 0.5, 0.75, 1.0)
_SHADES = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def show(raw: bytes, ask: Callable[[list[bytes]], np.ndarray] | None) -> str:
    """The wave of its beginning and a player, with the parts marked that drove the answer.

    By occlusion (Zeiler & Fergus 2014, arXiv:1311.2901): how much less probable the answer is
    with a part silenced.
    """
    signal, rate = sounds.beginning(raw, _SHOWN)
    counted = np.zeros(_PARTS)
    if ask is not None:
        edges = np.linspace(0, len(signal), _PARTS + 1).astype(int)
        asked = [_wav(signal, rate)]
        for start, end in itertools.pairwise(edges):
            without = signal.copy()
            without[start:end] = 0.0
            asked.append(_wav(without, rate))
        said = ask(asked)
        counted = np.nan_to_num(said[0] - said[1:])
    played = base64.b64encode(_wav(signal, rate)).decode()
    return (
        f'<div class="sound">{_drawn(signal, counted)}{_spectrogram(signal, rate)}'
        f'<audio controls preload="none" src="data:audio/wav;base64,{played}"></audio></div>'
    )


def read(model: AssembledModel, inputs: Sequence[np.ndarray]) -> tuple[bytes, str]:
    """The samples: a WAV file."""
    return _wav(inputs[0], Sound(**model.form).rate), "audio/wav"


def _drawn(signal: np.ndarray, counted: np.ndarray) -> str:
    """Bars as high as what is loudest in them."""
    parts = np.array_split(np.abs(signal), _BARS)
    loud = np.array([part.max(initial=0.0) for part in parts])
    loud = loud / max(float(loud.max()), 1e-6)
    share = np.maximum(counted, 0.0) / max(float(counted.max()), 1e-6)
    wide = _WIDTH / _BARS
    bars = []
    for number, high in enumerate(loud):
        red = share[number * _PARTS // _BARS]
        tall = max(1.0, _HEIGHT * float(high))
        bars.append(
            f'<rect x="{number * wide:.1f}" width="{wide * 0.7:.1f}" height="{tall:.1f}" '
            f'y="{(_HEIGHT - tall) / 2:.1f}" '
            f'fill="color-mix(in srgb, rgb(220 38 38) {100 * float(red):.0f}%, currentColor)"/>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="The sound\'s wave">'
        f"{''.join(bars)}</svg>"
    )


def _spectrogram(signal: np.ndarray, rate: int) -> str:
    """The powers in bands of the mel scale, from the loudest to 80 dB below, as a PNG."""
    hop = max(1, len(signal) // _COLUMNS)
    padded = np.pad(signal, _FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::hop][:_COLUMNS]
    powers = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)))
    bank = log_mel.mel_matrix(bins=_FRAME // 2 + 1, mels=_BANDS, rate=rate, low=50.0, high=rate / 2)
    loud = 10 * np.log10(powers @ bank + 1e-10)
    share = np.clip((loud - loud.max()) / 80.0 + 1.0, 0.0, 1.0)
    shades = [np.interp(share, _AT, channel) for channel in zip(*_SHADES, strict=True)]
    pixels = np.stack(shades, axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    # Low is below, and time goes to the right.
    Image.fromarray(pixels.transpose(1, 0, 2)[::-1]).save(buffer, "PNG")
    drawn = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{drawn}" alt="The sound\'s spectrogram" '
        f'style="width:100%;height:{_HEIGHT}px;image-rendering:pixelated">'
    )


def _wav(signal: np.ndarray, rate: int) -> bytes:
    whole = (np.clip(signal, -1, 1) * 32767).astype(np.int16)
    return sounds.written(whole[:, None], rate)
