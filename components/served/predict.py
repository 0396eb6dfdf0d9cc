"""Ask a model about a few examples, in the order given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from etils import epy

from components.modalities.table import MODALITIES
from components.served.manifest import verify_manifest
from components.served.opening import open_model
from models.mistakes import Mistake

with epy.lazy_imports():
    import tensorflow as tf


def predict(model: Path, inputs: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the model in `model` says of each input: input, label, valid, probabilities by class.

    Args:
        model: the directory of an exported or pushed model; its files must match its manifest.
        inputs: files, or the examples themselves where the modality has no files.
    """
    try:
        manifest = verify_manifest(model)
    except Mistake as mistake:
        raise Mistake(
            f"MODEL_DIR must be a model that was pushed or exported: {mistake}"
        ) from mistake
    modality = manifest["modality"]
    is_path = MODALITIES[modality].is_path
    raws = [_read(name) if is_path else os.fsencode(name) for name in inputs]
    answer = open_model(model, modality)(raw=tf.constant(raws))
    return [
        {
            # An argument that is not UTF-8 could not be printed.
            "input": name.encode("utf-8", "backslashreplace").decode(),
            "label": label.decode(),
            "valid": bool(valid),
            "probabilities": dict(zip(manifest["labels"], map(float, row), strict=True)),
        }
        for name, label, valid, row in zip(
            inputs,
            answer["labels"].numpy(),
            answer["valid"].numpy(),
            answer["probabilities"].numpy(),
            strict=True,
        )
    ]


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Mistake(
            f"INPUT must be a file that can be read, got {name!r}: {error.strerror}"
        ) from error
