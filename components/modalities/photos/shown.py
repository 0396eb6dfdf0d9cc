"""Photographs as a person sees them, with the parts that counted."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import AssembledModel
from components.modalities.photos.raw import seen

with epy.lazy_imports():
    from PIL import Image

legend = (
    "Where a picture is red, the answer given is less probable, or a number is less, when that "
    "part is covered."
)
explained = 4
# Pixels of what is shown, and of what is asked about; parts of each side that are covered.
_SHOWN, _ASKED, _PARTS = 160, 256, 7
_RED = (220, 38, 38)


def show(raw: bytes, ask: Callable[[list[bytes]], np.ndarray] | None) -> str:
    """An `<img>` that carries its data, and one with what drove the answer.

    By occlusion (Zeiler & Fergus 2014, arXiv:1311.2901): how much less probable the answer is
    with a part covered by the mean colour.
    """
    whole = Image.fromarray(seen(raw)[0])
    plain = whole.copy()
    plain.thumbnail((_SHOWN, _SHOWN))
    if ask is None:
        return _img(_large(plain))
    whole.thumbnail((_ASKED, _ASKED))
    counted = _counted(whole, ask)
    return f'<div class="pair">{_img(_large(plain))}{_img(_large(_reddened(plain, counted)))}</div>'


def read(model: AssembledModel, inputs: Sequence[np.ndarray]) -> tuple[bytes, str]:
    """The pixels: a PNG."""
    del model
    return _png(np.clip(np.round(inputs[0]), 0, 255).astype(np.uint8)), "image/png"


def _counted(picture: Any, ask: Callable[[list[bytes]], np.ndarray]) -> np.ndarray:
    """(parts, parts), how much less probable the answer is without each."""
    pixels = np.asarray(picture)
    grey = pixels.mean(axis=(0, 1)).astype(np.uint8)
    rows, columns = (
        np.linspace(0, side, _PARTS + 1).round().astype(int) for side in pixels.shape[:2]
    )
    asked = [_png(pixels)]
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            covered = pixels.copy()
            covered[top:bottom, left:right] = grey
            asked.append(_png(covered))
    speaks_for = ask(asked)
    # Of a number that is not answered nothing is known.
    found: np.ndarray = np.nan_to_num(speaks_for[0] - speaks_for[1:]).reshape(_PARTS, _PARTS)
    return found


def _reddened(picture: Any, counted: np.ndarray) -> Any:
    share = np.maximum(counted, 0.0) / max(float(counted.max()), 1e-6)
    mask = Image.fromarray((share * 190).astype(np.uint8))
    mask = mask.resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", picture.size, _RED), picture, mask)


def _large(picture: Any) -> Any:
    if max(picture.size) >= 64:
        return picture
    size = picture.width * 8, picture.height * 8
    return picture.resize(size, Image.Resampling.NEAREST)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _img(picture: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
