"""scikit-learn's handwritten digits as a source: they need no network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from etils import epy

from components.examples.source import Source, Wish, check_is_one_label
from components.examples.tables import Record
from components.files import sha256_of_json
from components.tasks.protocol import Space, Target

with epy.lazy_imports():
    import numpy as np
    from PIL import Image
    from sklearn import datasets

_DIGITS = tuple("0123456789")


def find(wish: Wish) -> Source:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 grey pixels, as PNG files."""
    location, modality, columns = wish.location, wish.modality, wish.columns
    check_is_one_label(wish)
    digest = sha256_of_json(["digits", version("scikit-learn")])
    target = Target(name=columns[0].name, task=columns[0].task, space=Space(labels=_DIGITS))
    return Source(location, modality, digest, columns, (target,), {"": 1797})


def iterate(_: Source) -> Iterator[Record]:
    bunch = datasets.load_digits()
    for i, (pixels, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        yield Record(f"digit-{i}", (str(label),), "", raw=_png(pixels))


def _png(pixels: Any) -> bytes:
    """(8, 8) of 0 … 16 → PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
