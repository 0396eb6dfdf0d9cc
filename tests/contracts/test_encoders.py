"""Every family of encoders: built, flat, cut anywhere, padded or not, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models import encoders
from models.encoders import FAMILIES
from tests.cuts import Presets, check_every_cut, kept
from tests.presets import POSITIONS, write_preset


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Presets:
    return kept(tmp_path_factory.mktemp("presets"), write_preset)


def encoder(family: str, folder: Path, pooling: encoders.Pooling = "mean") -> keras.Model:
    backbone = encoders.open_preset(family, folder, weights=True)
    return encoders.build_encoder(backbone, family, pooling=pooling, sequence_length=POSITIONS)


def batch(family: str, lengths: list[int], size: int) -> list[np.ndarray]:
    """Token ids and their mask, padded to `size`."""
    rng = np.random.default_rng(1)
    mask = (np.arange(size) < np.array(lengths)[:, None]).astype("int32")
    return [rng.integers(5, 40, mask.shape).astype("int32") * mask, mask]


@pytest.mark.parametrize("family", FAMILIES)
def test_suffix_of_prefix_is_the_whole_at_every_cut(family: str, presets: Presets) -> None:
    def both(crossing: list[Any]) -> None:
        assert len(crossing) == 2  # The hidden states, and the mask.

    inputs = batch(family, [POSITIONS, 7, 3], POSITIONS)
    check_every_cut(encoder(family, presets(family)), FAMILIES[family].block, inputs, both)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("family", ["BERT", "DeBERTa-v3", "GPT-2", "Gemma"])
def test_padding_changes_nothing(family: str, pooling: encoders.Pooling, presets: Presets) -> None:
    network = encoder(family, presets(family), pooling)
    padded = batch(family, [9, 5], POSITIONS)
    alone = [tensor[1:, :5] for tensor in padded]
    got = np.asarray(network(padded, training=False))[1]
    np.testing.assert_allclose(got, np.asarray(network(alone, training=False))[0], atol=1e-5)


def test_pooling_is_of_the_tokens_that_are_there(presets: Presets) -> None:
    backbone = encoders.open_preset("BERT", presets("BERT"), weights=True)
    ids, mask = batch("BERT", [9, 5], 9)
    given = {"token_ids": ids, "padding_mask": mask, "segment_ids": 0 * ids}
    hidden = np.asarray(backbone(given)["sequence_output"])
    expected = {"mean": hidden[1, :5].mean(axis=0), "cls": hidden[1, 0], "last": hidden[1, 4]}
    for pooling, vector in expected.items():
        network = encoder("BERT", presets("BERT"), pooling)  # type: ignore[arg-type]
        got = np.asarray(network([ids, mask], training=False))[1]
        np.testing.assert_allclose(got, vector, atol=1e-5)
