"""KerasHub's backbones from a preset: a folder with a config and weights, of KerasHub's own form or
of Hugging Face's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from etils import epy

from models.mistakes import Mistake

with epy.lazy_imports():
    import keras_hub


class Row(Protocol):
    """What tables of families have in common.

    Attributes:
        backbone: a class of `keras_hub.models`.
        model_type: what Hugging Face's `config.json` calls it, where that is read.
    """

    @property
    def backbone(self) -> str: ...

    @property
    def model_type(self) -> str: ...


def family_of(config: Mapping[str, Any], families: Mapping[str, Row]) -> str:
    """Which family a `config.json`, of KerasHub or Hugging Face, is of; KeyError for none."""
    for name, family in families.items():
        if config.get("class_name") == family.backbone:
            return name
        if family.model_type and config.get("model_type") == family.model_type:
            return name
    raise KeyError(config.get("class_name") or config.get("model_type") or "an unknown class")


def open_backbone(kind: str, folder: Path, *, weights: bool, **others: Any) -> Any:
    """The backbone in `folder`, in float32, with its weights or random ones.

    Its name does not depend on what the process made before, and so does not what is saved of it.

    Args:
        kind: a class of `keras_hub.models`.
        others: arguments of its constructor that are to be others than in the preset.
    """
    found = getattr(keras_hub.models, kind)
    others |= {"dtype": "float32", "name": "backbone"}
    try:
        return found.from_preset(str(folder), load_weights=weights, **others)
    except Exception as error:  # Whatever a damaged file makes KerasHub raise.
        raise unreadable(folder, "a backbone", error) from error


def unreadable(folder: Path, what: str, error: Exception) -> Mistake:
    """For what cannot be read from a preset's folder."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return Mistake(f"model.backbone must hold {what}, got {str(folder)!r}: {reason}")
