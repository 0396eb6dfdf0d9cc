"""Taps: what each block gives, pooled, and a network that ends where no tap needs more of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest

from models import taps
from models.backbones import BACKBONES, build_backbone
from models.splitting import block_starts, steps
from tests.models.test_splitting import SMALLEST, calibrate

USUAL = ("ConvNet", "MobileNetV2", "DenseNet", "ResNet")


def pooled(output: Any, name: str) -> Mapping[str, Any]:
    return {"": keras.layers.GlobalAveragePooling2D(name=name)(output)}


def tapped(name: str, size: int | None = None) -> tuple[keras.Model, list[taps.Tap]]:
    row = BACKBONES[name]
    network = build_backbone(name, input_size=size or row.smallest)
    starts = block_starts(network, row.block, ends=row.block_ends)
    return network, taps.find(network, starts, pooled)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=[] if family in USUAL else pytest.mark.exhaustive)
        for family in SMALLEST
    ],
)
def test_every_family_has_taps_and_the_last_is_its_output(family: str) -> None:
    network, found = tapped(SMALLEST[family])
    size = BACKBONES[SMALLEST[family]].smallest
    images = np.random.default_rng(0).uniform(0, 255, (8, size, size, 3)).astype("float32")
    calibrate(network, images)
    assert len(found) > 3
    assert len({tap.name for tap in found}) == len(found)
    assert found[-1].vector is network.outputs[0]
    assert sum(tap.width for tap in found) <= taps.MOST_FEATURES + found[-1].width
    body = taps.tapped(network, found)
    features = np.asarray(body(images, training=False))
    assert features.shape == (8, sum(tap.width for tap in found))
    np.testing.assert_allclose(
        features[:, -found[-1].width :], np.asarray(network(images, training=False)), rtol=1e-5
    )
    ends = np.cumsum([tap.width for tap in found])
    for number, tap in enumerate(found):
        part = features[:, ends[number] - tap.width : ends[number]]
        assert part.std(axis=0).max() > 0, f"{tap.name} says nothing"
    keras.backend.clear_session()


def test_the_finest_maps_are_left_out() -> None:
    small, large = (tapped("ConvNet", size)[1] for size in (32, 160))
    assert 1 < len(large) < len(small)
    assert [tap.name for tap in large] == [tap.name for tap in small][-len(large) :]


def test_a_network_ends_where_no_tap_needs_more_of_it() -> None:
    network, found = tapped("MobileNetV2-0.35")
    body = taps.tapped(network, found[:5])
    assert len(steps(body)) < len(steps(network)) / 2
    assert body.count_params() < network.count_params() / 10


def test_what_a_concatenation_says_again_is_left_out() -> None:
    """DenseNet's blocks give all that the ones before them gave."""
    names = [tap.name for tap in tapped("DenseNet121")[1]]
    assert "conv2_block6" in names
    assert "conv2_block5" not in names
    assert len(names) < 12


def test_of_too_many_features_every_second_tap_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(taps, "MOST_FEATURES", 300)
    names = [tap.name for tap in tapped("MobileNetV2-0.35")[1]]
    assert names[-1] == "Conv_1"
    assert 3 < len(names) < 19


def test_a_network_of_one_block_has_nothing_but_its_output() -> None:
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    [tap] = taps.find(network, {"stem": 0}, pooled)
    assert tap.vector is network.outputs[0]
