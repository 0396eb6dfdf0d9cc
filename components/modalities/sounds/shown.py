"""Sounds as a person sees and hears them, with the seconds that counted."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable

import numpy as np

from components.modalities.sounds import raw as sounds

legend = (
    "The higher a line, the louder. With the first ones: where it is red, the answer given is less "
    "probable, or a number is less, without that part."
)
explained = 4
# Bars of a wave, its size in pixels, parts that are silenced, and seconds that are shown.
_BARS, _WIDTH, _HEIGHT, _PARTS, _SHOWN = 160, 320, 80, 16, 10.0


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
        f'<div class="sound">{_drawn(signal, counted)}'
        f'<audio controls preload="none" src="data:audio/wav;base64,{played}"></audio></div>'
    )


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


def _wav(signal: np.ndarray, rate: int) -> bytes:
    whole = (np.clip(signal, -1, 1) * 32767).astype(np.int16)
    return sounds.written(whole[:, None], rate)
