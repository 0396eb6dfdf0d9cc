"""What every family of encoders is held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.splitting import STEM, block_starts, layers_of_blocks, one_or_all, split

Presets = Callable[[str], Path]


def kept(root: Path, write: Callable[[str, Path], Path]) -> Presets:
    """Family → the folder of its tiny preset, written when first asked for."""

    def preset(family: str) -> Path:
        folder = root / family
        return folder if folder.exists() else write(family, folder)

    return preset


def check_every_cut(
    network: keras.Model, pattern: str, inputs: Any, check: Callable[[list[Any]], None]
) -> None:
    """`suffix(prefix(x))` is the network at every cut, whose blocks have no layer in common.

    Args:
        check: of what crosses between two blocks.
    """
    whole = np.asarray(network(inputs, training=False))
    assert np.std(whole[0] - whole[1]) > 1e-3 * np.abs(whole).max() > 0
    starts = block_starts(network, pattern)
    assert len(starts) >= 4, starts
    for block in [*starts, None]:
        parts = split(network, starts, block)
        crossing = keras.tree.flatten(parts.prefix(inputs, training=False))
        if block not in (STEM, None):
            check(crossing)
        got = np.asarray(parts.suffix(one_or_all(crossing), training=False))
        np.testing.assert_allclose(got, whole, atol=1e-5, err_msg=str(block))
    blocks = layers_of_blocks(network, starts)
    owned = [id(layer) for layers in blocks.values() for layer in layers]
    assert len(owned) == len(set(owned))
    assert not network.trainable_variables
