"""Which activations are kept, so that they fit the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etils import epy

from components.artifacts import AssembledModel
from components.frozen.activations import DType, row_bytes, stored_as
from components.frozen.networks import block_starts, cut

with epy.lazy_imports():
    import keras


@dataclass(frozen=True)
class Keep:
    """What is kept.

    Attributes:
        cut: the block before which activations are taken; None for features alone.
        outputs: those to store, of `pooled`, `taps` and `at_cut`.
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
    vectors: Mapping[str, keras.Model],
) -> Keep:
    """The deepest cut, at `block` or before it, at which the activations of `rows` fit.

    Args:
        block: the first block to be trained; None for none.
        length: of a row in what is ragged, on average.
        dtype: of the activations; pooled features are float32.
        room: bytes; None for no limit.
        vectors: the outputs for a head, `pooled` or `taps` → the network that gives them.
    """
    left = float("inf") if room is None else float(room)
    outputs = tuple(vectors)
    left -= sum(rows * row_bytes(stored_as(each, "float32"), length) for each in vectors.values())
    if left < 0:
        return Keep(block, (), f"nothing is kept: features alone exceed {room} bytes")
    if block is None:
        return Keep(None, outputs, "features")
    names = list(block_starts(model, network))
    for name in reversed(names[: names.index(block) + 1]):
        prefix = cut(model, network, name).prefix
        if rows * row_bytes(stored_as(prefix, dtype), length) <= left:
            return Keep(name, (*outputs, "at_cut"), f"activations before {name}")
    why = f"no activations before {block} are kept: at no cut do they fit {room} bytes"
    return Keep(block, outputs, why)
