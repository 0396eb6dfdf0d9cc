"""Artifacts of models → Keras networks, built from our own code, with weights read in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy

from components.artifacts import AssembledModel
from components.modalities.table import MODALITIES
from models import backbones, distribution, splitting, taps
from models.mistakes import Mistake
from models.taps import Tap

with epy.lazy_imports():
    import keras


# The network that was opened last as a frozen one, by the file of its weights.
_frozen: dict[tuple[Path, int, int], keras.Model] = {}


def open_frozen(model: AssembledModel, weights: Path) -> keras.Model:
    """The same as `open_backbone`, for who changes nothing in it: the stages of a run share it.

    Not where it is distributed: a network belongs to the devices that it was built for.
    """
    if distribution.in_effect():
        return open_backbone(model, weights)
    key = _key(weights)
    if key not in _frozen:
        keep_frozen(weights, open_backbone(model, weights))
    return _frozen[key]


def keep_frozen(weights: Path, network: keras.Model) -> None:
    """Let `open_frozen` give `network`, whose weights are those in the file."""
    _frozen.clear()  # One at a time: they are large.
    _frozen[_key(weights)] = network


def _key(weights: Path) -> tuple[Path, int, int]:
    found = weights.stat()
    return weights.resolve(), found.st_mtime_ns, found.st_ino


def new_backbone(model: AssembledModel) -> keras.Model:
    """The same network with random weights."""
    return MODALITIES[model.modality].giants.build(model)


def open_backbone(model: AssembledModel, weights: Path) -> keras.Model:
    """The frozen backbone of `model`, with the weights in the file `weights`."""
    network = new_backbone(model)
    backbones.load_weights(network, weights)
    return network


def open_body(model: AssembledModel, weights: Path, names: Sequence[str]) -> keras.Model:
    """The backbone with what a head reads that reads the taps `names`: no more of it than needed.

    It shares the backbone's layers, which are built whole: its weights are one file.
    """
    return body(model, open_frozen(model, weights), names)


def body(model: AssembledModel, network: keras.Model, names: Sequence[str]) -> keras.Model:
    """From the inputs of `network` to the taps `names`; itself where there are none."""
    if not names:
        return network
    known = {tap.name: tap for tap in taps_of(model, network)}
    return taps.tapped(network, [known[name] for name in names])


def taps_of(model: AssembledModel, network: keras.Model) -> list[Tap]:
    """All the taps of the backbone of `model`, from the bottom up; see `taps.find`."""
    pooled = MODALITIES[model.modality].giants.pooled(model, network)
    return taps.find(network, block_starts(model, network), pooled)


def block_starts(model: AssembledModel, network: keras.Model) -> dict[str, int]:
    """The blocks of the backbone of `model`; see `splitting.block_starts`."""
    pattern, ends = MODALITIES[model.modality].giants.blocks(model)
    return splitting.block_starts(network, pattern, ends=ends)


def cut(model: AssembledModel, network: keras.Model, block: str | None) -> splitting.Split:
    """Split the backbone of `model` before `block`."""
    return splitting.split(network, block_starts(model, network), block)


def tail(
    model: AssembledModel, network: keras.Model, block: str | None, names: Sequence[str]
) -> tuple[keras.Model, tuple[str, ...]]:
    """What is computed from activations before `block` on, for a head that reads the taps `names`.

    Returns:
        The network, whose inputs are the tensors that cross and, where any taps are below the
        block, those side by side; and the names of these.
    """
    split = cut(model, network, block)
    if not names:
        return split.suffix, ()
    known = {tap.name: tap for tap in taps_of(model, network)}
    order = list(block_starts(model, network))
    at = order.index(block) if block else len(order)
    below = tuple(name for name in names if order.index(known[name].block) < at)
    others, vectors = list["keras.KerasTensor"](), [known[name].vector for name in names]
    if below:
        width = sum(known[name].width for name in below)
        stored = keras.Input((width,), name="stored_taps")
        others, vectors = [stored], [stored, *vectors[len(below) :]]
    try:
        found = split.onwards(taps.beside(vectors), others=others, name="tail")
    except ValueError as error:
        raise Mistake(
            f"head.features must be last where {block} is unfrozen in {model.backbone}, whose taps "
            f"read more than what crosses there, got taps"
        ) from error
    return found, below


def first_block(model: AssembledModel, network: keras.Model, unfreeze: int | str) -> str | None:
    """The first block that `unfreeze` (see `splitting.resolve_block`) names."""
    return splitting.resolve_block(block_starts(model, network), unfreeze)
