"""Every family of image encoders: built, flat, cut anywhere, exported, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.files import read_json
from components.modalities.giants import ModelConfig
from components.modalities.photos import giants
from components.modalities.photos.raw import PhotosConfig
from models import freezing, image_encoders
from models.image_encoders import FAMILIES
from models.mistakes import Mistake
from models.splitting import STEM, block_starts, split
from tests.conftest import InProcess
from tests.cuts import Presets, check_every_cut, kept
from tests.image_presets import SIZE, write_image_preset

SCALE, OFFSET = (1 / 50, 1 / 60, 1 / 70), (-2.0, -1.5, -1.0)


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Presets:
    return kept(tmp_path_factory.mktemp("presets"), write_image_preset)


def opened(family: str, folder: Path, size: int = SIZE) -> Any:
    config = read_json(folder / "config.json")
    assert image_encoders.family_of(config) == family
    return image_encoders.open_preset(family, config, folder, weights=True, input_size=size)


def encoder(family: str, folder: Path, pooling: Any = None, size: int = SIZE) -> keras.Model:
    return image_encoders.build_encoder(
        opened(family, folder, size),
        family,
        pooling=pooling or FAMILIES[family].poolings[0],
        input_size=size,
        scale=SCALE,
        offset=OFFSET,
    )


def pictures(count: int = 3, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (count, size, size, 3)).astype("float32")


@pytest.mark.parametrize("family", FAMILIES)
def test_suffix_of_prefix_is_the_whole_at_every_cut(family: str, presets: Presets) -> None:
    def one(crossing: list[Any]) -> None:
        assert len(crossing) == 1

    network = encoder(family, presets(family))
    check_every_cut(network, FAMILIES[family].block, pictures(), one)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_says_what_the_backbone_says(family: str, presets: Presets) -> None:
    """Scaled by its own numbers, and pooled by hand."""
    backbone, images = opened(family, presets(family)), pictures()
    scaled = images * np.array(SCALE, "float32") + np.array(OFFSET, "float32")
    given = {"images": scaled} if isinstance(backbone.input, dict) else scaled
    output = np.asarray(keras.tree.flatten(backbone(given, training=False))[0])
    aside = FAMILIES[family].aside(backbone.get_config())
    places = output.reshape(len(output), -1, output.shape[-1])[:, aside:]
    mean = places.mean(axis=1)
    for pooling in FAMILIES[family].poolings:
        if pooling == "attention":
            expected = output
        elif family == "SigLIP":
            continue  # The backbone does not give what it pools.
        elif pooling in ("avg", "max"):
            expected = mean if pooling == "avg" else places.max(axis=1)
        else:
            first = output[:, 0]
            expected = first if pooling == "cls" else np.concatenate([first, mean], axis=1)
        got = np.asarray(encoder(family, presets(family), pooling)(images, training=False))
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=pooling)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=pytest.mark.slow if family == "ViT" else pytest.mark.exhaustive)
        for family in FAMILIES
    ],
)
def test_every_family_is_exported_and_agrees(
    family: str, presets: Presets, in_process: InProcess, tmp_path: Path, tiny_recipe: Path
) -> None:
    """The whole flow on it; `export` fails where what is served is not what was trained."""
    status, out, err = in_process(
        *("run", tiny_recipe, "--store", tmp_path / "store", "--json"),
        *("--model.backbone", presets(family), "--model.weights", "pretrained"),
        *("--photos.input-size", SIZE, "--fine-tune.unfreeze", 1),
        *("--fine-tune.epochs", 1, "--head.epochs", 1),
    )
    assert status == 0, err
    stats = {stage["name"]: stage["stats"] for stage in json.loads(out)["stages"]}
    assert stats["fine_tune"]["moved"] > 0
    assert stats["export"]["largest_difference"] < 1e-5


def test_batch_normalization_within_a_block_that_is_one_layer_stays_frozen(
    presets: Presets,
) -> None:
    whole = encoder("EfficientNet", presets("EfficientNet"))
    network = split(whole, block_starts(whole, FAMILIES["EfficientNet"].block), STEM).suffix
    freezing.unfreeze(network.layers)
    inner = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(inner) > 5
    assert not any(layer.trainable for layer in inner)
    weights = freezing.named_weights(network)
    frozen = freezing.frozen_names(network, weights)
    assert all(variable.path in frozen for layer in inner for variable in layer.weights)
    freezing.unfreeze(network.layers, batch_normalization=True)
    assert all(layer.trainable for layer in inner)
    assert not freezing.frozen_names(network, weights)


def test_other_sizes(presets: Presets) -> None:
    """Where positions can be interpolated, or there are none; elsewhere it is refused."""
    other = 2 * SIZE
    for family in ("DINOv2", "ResNet", "EfficientNet"):
        network = encoder(family, presets(family), size=other)
        assert np.isfinite(np.asarray(network(pictures(size=other)))).all()
    with pytest.raises(Mistake, match=r"photos\.input_size must be 32 for this ViT.*got 64"):
        encoder("ViT", presets("ViT"), size=other)
    with pytest.raises(Mistake, match=r"photos\.input_size must be a multiple of .* got 60"):
        encoder("DINOv2", presets("DINOv2"), size=60)


def found(folder: Path | str, pooling: str = "auto") -> Any:
    config = ModelConfig(backbone=str(folder), pooling=pooling)
    return giants.find(config, PhotosConfig(), download=False)


def test_the_small_network_beside_one_with_tokens_has_none(
    presets: Presets, tmp_path: Path
) -> None:
    config = ModelConfig(backbone=str(presets("ViT")), pooling="both")
    small = giants.small(found(presets("ViT"), "both"))
    network, form, pooling = giants.begin(config, PhotosConfig(), small, tmp_path, published=False)
    assert (form.family, pooling, len(network.output_shape)) == ("", "avg", 2)


def test_what_cannot_be_read_is_said(presets: Presets, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"model\.pooling must be one of auto, avg, max for ResNet"):
        encoder("ResNet", presets("ResNet"), "cls")
    with pytest.raises(Mistake, match=r"must be one of auto, avg, max for MobileNetV2, got 'cls'"):
        found("MobileNetV2", "cls")
    with pytest.raises(Mistake, match=r"the name of a KerasHub preset.*got 'vit_base_patch16_224'"):
        found("vit_base_patch16_224")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text('{"model_type": "swin"}')
    with pytest.raises(Mistake, match=r"families ViT, DeiT, DINOv2 where .* which is swin"):
        found(strange)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, (2 / 255, -1.0)),
        ({"do_normalize": False}, (1 / 255, 0.0)),
        ({"do_rescale": False, "image_mean": [100] * 3, "image_std": [50] * 3}, (0.02, -2.0)),
    ],
)
def test_hugging_face_says_how_it_scales(
    said: dict[str, Any], expected: tuple[float, float], tmp_path: Path
) -> None:
    """A folder of theirs, its weights random: the form has the numbers of its processor."""
    sizes = {"image_size": SIZE, "patch_size": 8, "num_hidden_layers": 2, "hidden_size": 16}
    sizes |= {"num_attention_heads": 2, "intermediate_size": 32}
    rest = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "qkv_bias": True}
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vit", **sizes, **rest}))
    config = ModelConfig(backbone=str(folder), weights="none")
    (tmp_path / "made").mkdir()

    def begun() -> Any:
        return giants.begin(
            config, PhotosConfig(), found(folder), tmp_path / "made", published=False
        )

    with pytest.raises(Mistake, match=r"must say how it wants its pictures scaled"):
        begun()
    (folder / "preprocessor_config.json").write_text(json.dumps(said | {"size": {"height": SIZE}}))
    network, form, pooling = begun()
    assert (form.scale, form.offset) == (
        pytest.approx((expected[0],) * 3),
        pytest.approx((expected[1],) * 3),
    )
    assert (form.input_size, pooling) == (SIZE, "cls")
    assert network.output_shape == (None, 16)
