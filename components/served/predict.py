"""Ask a model about a few examples, in the order given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.modalities.table import MODALITIES
from components.served.manifest import targets_of, verify_manifest
from components.served.opening import Opened, named_said
from components.tasks.protocol import Said, Target
from components.tasks.table import short
from models.mistakes import Mistake


def predict(model: Path, inputs: tuple[str, ...]) -> list[Prediction]:
    """What the model in `model` says of each input.

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
    modality, targets = manifest["modality"], targets_of(manifest)
    is_path = MODALITIES[modality].raw.is_path
    raws = [_read(name) if is_path else os.fsencode(name) for name in inputs]
    answers = Opened(model, modality, targets).ask(raws).said()
    return [
        # An argument that is not UTF-8 could not be printed.
        Prediction(name.encode("utf-8", "backslashreplace").decode(), valid, targets, said)
        for name, (valid, said) in zip(inputs, answers, strict=True)
    ]


@dataclass(frozen=True)
class Prediction:
    """What is said of one input."""

    input: str
    valid: bool
    targets: tuple[Target, ...]
    said: list[Said]

    def as_json(self) -> dict[str, Any]:
        """input, valid, and what is said; probabilities by the labels that they are of."""
        labelled = [
            own | {"probabilities": dict(zip(t.space.labels, own["probabilities"], strict=True))}
            if "probabilities" in own
            else own
            for t, own in zip(self.targets, self.said, strict=True)
        ]
        return {"input": self.input, "valid": self.valid, **named_said(self.targets, labelled)}

    def as_line(self) -> str:
        """Tab-separated: the input, and for each target the answer and how sure it is."""
        if not self.valid:
            return f"{self.input}\tinvalid\t"
        cells = [cell for pair in short(self.targets, self.said) for cell in pair]
        return "\t".join([self.input, *cells])


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Mistake(
            f"INPUT must be a file that can be read, got {name!r}: {error.strerror}"
        ) from error
