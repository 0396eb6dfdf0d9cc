"""Which activations are kept, so that they fit the disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from etils import epy

from components.artifacts import AssembledModel
from components.frozen.activations import DType, row_bytes, stored_as
from components.frozen.networks import block_starts, cut
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras


@dataclass(frozen=True)
class Keep:
    """What is kept.

    Attributes:
        cut: the block before which activations are taken; None for features alone.
        outputs: those to store, of `pooled` and `at_cut`.
        why: in words.
    """

    cut: str | None
    outputs: tuple[str, ...]
    why: str


def what_fits(
    model: AssembledModel,
    network: keras.Model,
    block: str | None,
    *,
    rows: int,
    length: int,
    dtype: DType,
    room: int | None,
    pooled: bool,
) -> Keep:
    """The deepest cut, at `block` or before it, at which the activations of `rows` fit.

    Args:
        block: the first block to be trained; None for none.
        length: of a row in what is ragged, on average.
        dtype: of the activations; pooled features are float32.
        room: bytes; None for no limit.
        pooled: whether pooled features are to be kept, too.
    """
    left = float("inf") if room is None else float(room)
    outputs = ("pooled",) if pooled else ()
    if pooled:
        left -= rows * row_bytes(stored_as(network, "float32"), length)
    if left < 0:
        return Keep(block, (), f"nothing is kept: features alone exceed {room} bytes")
    if block is None:
        return Keep(None, outputs, "pooled features")
    names = list(block_starts(model, network))
    for name in reversed(names[: names.index(block) + 1]):
        prefix = cut(model, network, name).prefix
        if rows * row_bytes(stored_as(prefix, dtype), length) <= left:
            return Keep(name, (*outputs, "at_cut"), f"activations before {name}")
    why = f"no activations before {block} are kept: at no cut do they fit {room} bytes"
    return Keep(block, outputs, why)


def require_room(directory: Path, needed: int) -> None:
    """Raise a `Mistake` unless `needed` bytes are free on the disk of `directory`."""
    free = shutil.disk_usage(directory.parent).free
    if needed > free:
        raise Mistake(
            f"extract.budget must leave what fits the {free / 1e6:,.0f} MB free for "
            f"{str(directory)!r}, got {needed / 1e6:,.0f} MB to write"
        )
