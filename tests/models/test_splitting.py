"""Cutting a network anywhere gives the network back."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from models.backbones import BACKBONES, build_backbone
from models.mistakes import Mistake
from models.splitting import STEM, block_starts, one_or_all, resolve_block, split

# The smallest of each family; `make test` does those in FAST.
SMALLEST = {
    "ConvNet": "ConvNet",
    "MobileNetV2": "MobileNetV2-0.35",
    "ResNet": "ResNet50",
    "VGG": "VGG16",
    "ResNetV2": "ResNet50V2",
    "Inception": "InceptionV3",
    "InceptionResNet": "InceptionResNetV2",
    "Xception": "Xception",
    "DenseNet": "DenseNet121",
    "MobileNet": "MobileNet-0.25",
    "MobileNetV3": "MobileNetV3Small",
    "NASNet": "NASNetMobile",
    "EfficientNet": "EfficientNetB0",
    "EfficientNetV2": "EfficientNetV2B0",
    "ConvNeXt": "ConvNeXtTiny",
}
FAST = ("ConvNet", "MobileNetV2")
FAMILIES = [
    pytest.param(family, marks=[] if family in FAST else pytest.mark.exhaustive)
    for family in SMALLEST
]


def test_every_family_has_its_smallest_here() -> None:
    assert set(SMALLEST) == {row.family for row in BACKBONES.values()}


def calibrate(network: keras.Model, images: np.ndarray) -> None:
    """Statistics of these images for BatchNormalization; with fresh ones the output is constant."""
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.trainable, layer.momentum = True, 0.0
    network(images, training=True)
    for layer in norms:
        layer.trainable = False


@pytest.mark.parametrize("family", FAMILIES)
def test_suffix_of_prefix_is_the_whole_at_every_cut(family: str) -> None:
    row = BACKBONES[SMALLEST[family]]
    keras.utils.set_random_seed(1)
    network = build_backbone(SMALLEST[family], input_size=row.smallest)
    size = (8, row.smallest, row.smallest, 3)
    images = np.random.default_rng(1).uniform(0, 255, size).astype("float32")
    calibrate(network, images)
    images = images[:2]
    whole = np.asarray(network(images, training=False))
    scale = np.abs(whole).max()
    assert np.std(whole[0] - whole[1]) > 1e-3 * scale > 0
    starts = block_starts(network, row.block, ends=row.block_ends)
    assert len(starts) > 3
    for block in [*starts, None]:
        parts = split(network, starts, block)
        crossing = parts.prefix(images, training=False)
        got = np.asarray(parts.suffix(one_or_all(keras.tree.flatten(crossing)), training=False))
        np.testing.assert_allclose(got, whole, atol=1e-5 * max(1.0, scale), err_msg=str(block))


def test_blocks_by_name_number_and_all() -> None:
    network = build_backbone("MobileNetV2", input_size=32)
    starts = block_starts(network, BACKBONES["MobileNetV2"].block)
    assert resolve_block(starts, 5) == "block_13"
    assert resolve_block(starts, "block_13") == "block_13"
    assert resolve_block(starts, "all") == STEM
    assert resolve_block(starts, 0) is None
    with pytest.raises(Mistake, match="must be between 0 and the network's"):
        resolve_block(starts, 99)
    suffix = split(network, starts, "block_13").suffix
    named = {layer.name for layer in suffix.layers}
    assert "block_13_expand" in named
    assert "block_12_project" not in named


def test_a_block_that_is_not_there_is_named() -> None:
    network = build_backbone("ConvNet")
    starts = block_starts(network, BACKBONES["ConvNet"].block)
    with pytest.raises(Mistake, match=r"got 'block7': did you mean block"):
        resolve_block(starts, "block7")
