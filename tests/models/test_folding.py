"""A folded network is the same function of the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from models import freezing, heads, minibatches, objectives, optimization, training
from models.backbones import BACKBONES, build_backbone
from models.folding import Folded, fold
from models.splitting import block_starts, split, steps
from tests.models.test_splitting import FAMILIES, SMALLEST, calibrate


@pytest.fixture
def float64() -> Iterator[None]:
    """So that rounding, which deep random networks blow up, cannot hide a mistake."""
    for change in (keras.config.set_floatx, keras.config.set_dtype_policy):
        change("float64")
    yield
    for change in (keras.config.set_floatx, keras.config.set_dtype_policy):
        change("float32")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("float64")
def test_folding_changes_nothing_but_the_work(family: str) -> None:
    row = BACKBONES[SMALLEST[family]]
    keras.utils.set_random_seed(1)
    network = build_backbone(SMALLEST[family], input_size=row.smallest)
    size = (8, row.smallest, row.smallest, 3)
    images = np.random.default_rng(1).uniform(0, 255, size)
    calibrate(network, images)
    expected = network.predict_on_batch(images)
    folded = fold(network)
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers):
        assert any(isinstance(layer, Folded) for layer in folded.layers)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(folded.predict_on_batch(images), expected, atol=1e-9 * scale)


def test_zeros_that_a_convolution_would_add_itself_are_not_copied() -> None:
    """Where 33 pixels are halved, `same` would add others."""
    for size, left in ((64, 0), (66, 1)):
        inputs = keras.Input((size, size, 3))
        x = inputs
        for pads in (((0, 1), (0, 1)), ((0, 1), (0, 1))):
            x = keras.layers.ZeroPadding2D(pads)(x)
            x = keras.layers.DepthwiseConv2D(3, strides=2, use_bias=False)(x)
            x = keras.layers.BatchNormalization()(x)
        network = keras.Model(inputs, x)
        network.trainable = False
        folded = fold(network)
        kept = [type(step.operation).__name__ for step in steps(folded)]
        assert kept.count("ZeroPadding2D") == left
        images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
        np.testing.assert_allclose(folded(images), network(images), atol=1e-6)


def in_memory(inputs: np.ndarray) -> minibatches.Data:
    targets = minibatches.one_hot(np.arange(len(inputs)) % 2, 2)
    return minibatches.labelled(targets, lambda rows, epoch: inputs[rows])


def test_training_the_folded_network_trains_the_network_itself() -> None:
    """The same steps as without folding, on the same variables; what is frozen stays."""
    results = []
    for folding in (False, True):
        keras.utils.set_random_seed(1)
        network = build_backbone("MobileNetV2-0.35", input_size=32)
        parts = split(network, block_starts(network, BACKBONES["MobileNetV2"].block), "block_15")
        inputs = np.random.default_rng(0).normal(size=(16, *parts.suffix.input_shape[1:]))
        freezing.unfreeze(parts.suffix.layers)
        suffix = fold(parts.suffix) if folding else parts.suffix
        if folding:
            kept = [type(step.operation).__name__ for step in steps(suffix)]
            assert not {"BatchNormalization", "ZeroPadding2D"} & set(kept)
        head = heads.build_head(
            features=network.output_shape[-1],
            outputs=[("probabilities", 2, "softmax")],
            normalize=False,
        )
        model = heads.join(suffix, head)
        data = in_memory(inputs.astype("float32"))
        weights = freezing.named_weights(network)
        before = freezing.snapshot(weights)
        optimizer = optimization.build_optimizer(learning_rate=1e-3, steps=4)
        training.train(
            model,
            data,
            data,
            optimizer=optimizer,
            objective=objectives.single(2),
            length=training.Length(2, 8),
            seed=0,
        )
        moved = freezing.movement(weights, before)
        assert not any("_BN/" in name for name in moved)
        results.append((moved.keys(), network.predict_on_batch(np.zeros((1, 32, 32, 3)))))
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-4)


def test_16_bits_are_close_and_only_multiply() -> None:
    keras.utils.set_random_seed(1)
    network = build_backbone("MobileNetV2-0.35", input_size=32)
    starts = block_starts(network, BACKBONES["MobileNetV2"].block)
    suffix = split(network, starts, "block_16").suffix
    inputs = np.random.default_rng(0).normal(size=(4, *suffix.input_shape[1:])).astype("float32")
    expected = suffix.predict_on_batch(inputs)
    half = fold(suffix, precision="bfloat16").predict_on_batch(inputs)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - expected).max() < 0.05 * np.abs(expected).max()
