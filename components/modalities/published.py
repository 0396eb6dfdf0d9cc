"""Published weights of the table of Keras Applications, as files that Keras finds or downloads."""

from __future__ import annotations

import os
from pathlib import Path

from components.files import sha256, sha256_of_json
from components.modalities.giants import Pretrained
from models import backbones
from models.mistakes import Mistake
from models.quiet import import_tensorflow


def home() -> Path:
    """Where Keras keeps weights."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")).expanduser() / "models"


def at_hand() -> list[str]:
    """The networks of the table whose weights are here."""
    names = ((name, backbones.weights_file(name)) for name in backbones.BACKBONES)
    return [name for name, file in names if file and (home() / file).is_file()]


def of_applications(
    backbone: str, asked: str, input_size: int | None, *, download: bool
) -> Pretrained:
    """ImageNet weights; the file is hashed, so that another file by the name is noticed.

    Args:
        asked: the value of `model.weights`.
        input_size: of the network, of which some have weights for several.
    """
    name = backbones.weights_file(backbone, input_size)
    if not name:
        raise Mistake(
            f"model.weights must be none, pretrain or a file for {backbone}, which has no "
            f"published weights, got {asked!r}"
        )
    file = home() / name
    if not file.is_file() and download:
        import_tensorflow()
        reason = "Keras put it elsewhere, as it does where it cannot write"
        try:
            backbones.build_backbone(backbone, input_size=input_size, weights="imagenet")
        except Mistake as mistake:
            reason = str(mistake).partition(f"{backbone}: ")[2] or str(mistake)
        if not file.is_file():
            raise Mistake(
                f"model.weights must be within reach, got {asked!r} for {backbone} ({reason}): put "
                f"{name} into $KERAS_HOME/models (now {home()}) or name a file with --model.weights"
            )
    # Not the file's digest alone: Keras builds some networks differently for its own weights.
    digest = sha256_of_json(["imagenet", sha256(file) if file.is_file() else "to be downloaded"])
    return Pretrained(digest, "ImageNet weights of Keras Applications", published=True)
