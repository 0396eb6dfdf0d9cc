"""Photographs as a person sees them."""

from __future__ import annotations

import base64
import io
from typing import Any

from etils import epy

with epy.lazy_imports():
    from PIL import Image

legend = ""


def show(raw: bytes, ask: Any) -> str:
    """An `<img>` of at most 160 pixels that carries its data; Pillow must be able to read it."""
    del ask
    with Image.open(io.BytesIO(raw)) as picture:
        small = picture.convert("RGB")
        small.thumbnail((160, 160))
        if max(small.size) < 64:
            small = small.resize((small.width * 8, small.height * 8), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
    return (
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    )
