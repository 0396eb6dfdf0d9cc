"""Ask a model about a few examples, in the order given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import MOST_BYTES, read_regular
from components.modalities.table import MODALITIES
from components.served.opening import KNOWN, Opened, named_said
from components.tasks.protocol import Said, Target
from components.tasks.table import short
from models.mistakes import Mistake, printable


def predict(
    model: Path, modality: str, targets: tuple[Target, ...], inputs: tuple[str, ...]
) -> list[Prediction]:
    """What the model in `model` says of each input.

    Args:
        model: the directory of an exported or pushed model, whose manifest was verified.
        modality: what it reads.
        targets: what it says.
        inputs: files, or the examples themselves where the modality has no files.
    """
    is_path = MODALITIES[modality].raw.is_path
    raws = [read(name) if is_path else os.fsencode(name) for name in inputs]
    answers = Opened(model, modality, targets).ask(raws).said()
    return [
        # An argument that is not UTF-8 could not be printed.
        Prediction(name.encode("utf-8", "backslashreplace").decode(), targets, *answered)
        for name, answered in zip(inputs, answers, strict=True)
    ]


@dataclass(frozen=True)
class Prediction:
    """What is said of one input."""

    input: str
    targets: tuple[Target, ...]
    valid: bool
    said: list[Said]
    likeness: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """input, valid, and what is said; probabilities by the labels that they are of.

        And how unlike it is to what the model was trained on, where the model says that.
        """
        labelled = [
            own | {"probabilities": dict(zip(t.space.labels, own["probabilities"], strict=True))}
            if "probabilities" in own
            else own
            for t, own in zip(self.targets, self.said, strict=True)
        ]
        named = named_said(self.targets, labelled)
        return {"input": self.input, "valid": self.valid, **named, **self.likeness}

    def as_line(self) -> str:
        """Tab-separated: the input, whether it is valid and known, what is said of each target."""
        if not self.valid:
            return f"{printable(self.input)}\tinvalid"
        how = "valid" if self.likeness.get(KNOWN, True) else "unknown"
        return "\t".join(map(printable, (self.input, how, *short(self.targets, self.said))))


def check_inputs(inputs: tuple[str, ...], modality: str) -> None:
    """A `Mistake` where what is to be read cannot be, before any model is loaded."""
    if not MODALITIES[modality].raw.is_path:
        return
    for name in inputs:
        if Path(name).is_dir():
            raise Mistake(
                f"INPUT must be files, got the folder {name!r}: to predict all that is in it, say "
                f"--output predictions.jsonl"
            )
        if not Path(name).is_file():
            raise Mistake(f"INPUT must be a file that can be read, got {name!r}, which is none")


def read(name: str) -> bytes:
    """The bytes of an example in a file; a `Mistake` where it cannot be read."""
    try:
        return read_regular(Path(name), MOST_BYTES)
    except OSError as error:
        raise Mistake(
            f"INPUT must be a file that can be read, got {name!r}: {error.strerror}"
        ) from error
