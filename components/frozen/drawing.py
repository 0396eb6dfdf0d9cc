"""A giant as a drawing: its blocks, and what crosses where it can be cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.artifacts import AssembledModel
from components.frozen.activations import DType, Shape, row_bytes, stored_as
from components.frozen.networks import block_starts, cut, open_frozen
from models import splitting


@dataclass(frozen=True)
class Block:
    """A block of a giant, and the cut before it.

    Attributes:
        weights: numbers in it.
        crossing: the shapes of what crosses before it, of one example; None is as long as that.
        bytes: of that as it would be stored; where it is ragged, of one token or moment.
    """

    name: str
    layers: int
    weights: int
    crossing: tuple[Shape, ...]
    bytes: int
    ragged: bool


def blocks(model: AssembledModel, dtype: DType) -> list[Block]:
    """All blocks, from the bottom up.

    Args:
        dtype: of stored activations.
    """
    network = open_frozen(model, model.weights)
    found = []
    for name, layers in splitting.layers_of_blocks(network, block_starts(model, network)).items():
        tensors = stored_as(cut(model, network, name).prefix, dtype)
        found.append(
            Block(
                name=name,
                layers=len(layers),
                weights=sum(math.prod(v.shape) for layer in layers for v in layer.weights),
                crossing=tuple(shape for shape, _ in tensors),
                bytes=row_bytes(tensors, 1),
                ragged=any(None in shape for shape, _ in tensors),
            )
        )
    return found
