"""Artifacts of models → Keras networks, built from our own code, with weights read in."""

from __future__ import annotations

from pathlib import Path

from etils import epy

from components.artifacts import AssembledModel
from components.modalities.table import MODALITIES
from models import backbones, splitting

with epy.lazy_imports():
    import keras


def open_backbone(model: AssembledModel, weights: Path) -> keras.Model:
    """The frozen backbone of `model`, with the weights in the file `weights`."""
    network = MODALITIES[model.modality].giants.build(model)
    backbones.load_weights(network, weights)
    return network


def block_starts(model: AssembledModel, network: keras.Model) -> dict[str, int]:
    """The blocks of the backbone of `model`; see `splitting.block_starts`."""
    pattern, ends = MODALITIES[model.modality].giants.blocks(model)
    return splitting.block_starts(network, pattern, ends=ends)


def cut(model: AssembledModel, network: keras.Model, block: str | None) -> splitting.Split:
    """Split the backbone of `model` before `block`."""
    return splitting.split(network, block_starts(model, network), block)


def first_block(model: AssembledModel, network: keras.Model, unfreeze: int | str) -> str | None:
    """The first block that `unfreeze` (see `splitting.resolve_block`) names."""
    return splitting.resolve_block(block_starts(model, network), unfreeze)
