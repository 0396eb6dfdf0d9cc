"""The table: every row builds, frozen; the smallest of each family exports and agrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pyarrow import parquet

from models.backbones import BACKBONES, build_backbone, find_backbone, load_weights
from models.mistakes import Mistake
from tests.models.test_splitting import SMALLEST, calibrate

# One of each kind is built always; the flow goes through the simplest and, where there is time, the
# usual one. All are in the exhaustive tests.
BUILT = ("ConvNet", "MobileNetV2", "MobileNetV2-0.35", "EfficientNetB0", "ResNet50")
EXPORTED: dict[str, Any] = {
    "ConvNet": [],
    "MobileNetV2": pytest.mark.slow,
    "EfficientNet": pytest.mark.slow,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in BUILT else pytest.mark.exhaustive)
        for name in BACKBONES
    ],
)
def test_every_backbone_is_built_frozen(name: str) -> None:
    row = BACKBONES[name]
    network = build_backbone(name, input_size=row.smallest)
    assert network.trainable_variables == []
    assert len(network.output_shape) == 2
    keras.backend.clear_session()


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=EXPORTED.get(family, pytest.mark.exhaustive))
        for family in SMALLEST
    ],
)
def test_the_smallest_of_each_family_is_exported_and_agrees(
    family: str, in_process: Callable[..., Any], tmp_path: Path, tiny_recipe: Path
) -> None:
    """The whole flow on it; `export` fails where what is served is not what was trained."""
    row = BACKBONES[SMALLEST[family]]
    keras.utils.set_random_seed(0)
    network = build_backbone(SMALLEST[family], input_size=row.smallest)
    images = np.random.default_rng(0).uniform(0, 255, (16, row.smallest, row.smallest, 3))
    calibrate(network, images.astype("float32"))
    network.save_weights(tmp_path / "calibrated.weights.h5")
    status, _, err = in_process(
        *("run", tiny_recipe, "--store", tmp_path / "store", "--json"),
        *("--model.backbone", SMALLEST[family], "--photos.input-size", row.smallest),
        *("--model.weights", tmp_path / "calibrated.weights.h5"),
        *("--fine-tune.epochs", 1, "--head.epochs", 1),
    )
    assert status == 0, err
    predictions = next((tmp_path / "store").glob("evaluate/*/predictions.parquet"))
    rows = parquet.read_table(predictions, columns=["probabilities"]).to_pylist()
    assert len(set(map(str, rows))) > 1, "the outputs are constant"


@pytest.mark.parametrize(
    "name",
    [
        *("MobileNetV2", "ResNet50"),
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("VGG16", "DenseNet121", "NASNetMobile")
        ),
    ],
)
def test_preprocessing_is_that_of_keras_applications(name: str) -> None:
    row = BACKBONES[name]
    network = build_backbone(name, input_size=32)
    bare = getattr(keras.applications, row.constructor)(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    bare.set_weights(network.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    preprocess = getattr(keras.applications, row.preprocessing).preprocess_input
    expected = np.asarray(bare(preprocess(images.copy()), training=False))
    np.testing.assert_allclose(np.asarray(network(images, training=False)), expected, rtol=1e-5)


def test_published_weights_are_read_into_the_network_that_is_built_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras's EfficientNet scales its input once more where it reads its own weights."""
    theirs = keras.applications.EfficientNetB0(weights=None, include_top=False)
    normalization = next(x for x in theirs.layers if isinstance(x, keras.layers.Normalization))
    normalization.set_weights([np.full(3, 0.4), np.full(3, 0.05), np.zeros((), "int32")])
    normalization.finalize_state()
    images = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype("float32")
    file = tmp_path / "published.weights.h5"
    theirs.save_weights(file)
    module = keras.src.applications.efficientnet
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_, **__: str(file))
    published = keras.applications.EfficientNetB0(
        include_top=False, input_shape=(64, 64, 3), pooling="avg"
    )
    expected = np.asarray(published(images, training=False))
    ours = build_backbone("EfficientNetB0", input_size=64, weights="imagenet")
    np.testing.assert_allclose(
        np.asarray(ours(images, training=False)), expected, atol=1e-4 * np.abs(expected).max()
    )
    ours.save_weights(tmp_path / "ours.weights.h5")
    again = build_backbone("EfficientNetB0", input_size=64)
    load_weights(again, tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(
        np.asarray(again(images, training=False)), expected, atol=1e-4 * np.abs(expected).max()
    )
    unscaled = np.asarray(theirs(images, training=False)).mean(axis=(1, 2))
    assert np.abs(unscaled - expected).max() > 1e-2 * np.abs(expected).max()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"got 'resnet-50': did you mean ResNet50"):
        find_backbone("resnet-50")
    with pytest.raises(Mistake, match=r"input_size must be at least 71 for Xception, got 32"):
        build_backbone("Xception", input_size=32)
    other = build_backbone("MobileNetV2-0.35", input_size=32)
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(Mistake, match=r"model.weights must fit the backbone small_convnet"):
        load_weights(build_backbone("ConvNet"), tmp_path / "other.weights.h5")


def test_no_weights_file_is_claimed_twice() -> None:
    files = [row.weights_file for row in BACKBONES.values() if row.weights_file]
    assert len(files) == len(set(files))
