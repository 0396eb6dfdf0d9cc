"""Ask a SavedModel of ours, through the signature that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from components.modalities.table import MODALITIES

with epy.lazy_imports():
    import tensorflow as tf


def open_model(path: Path, modality: str) -> Any:
    """The signature `serving_default` of the model at `path`, to be called with `raw`."""
    MODALITIES[modality].load_ops()
    return tf.saved_model.load(path).signatures["serving_default"]
