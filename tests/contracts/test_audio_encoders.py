"""Every family of audio encoders: built, flat, cut anywhere, of what is heard, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
from scipy.special import erf, softmax

from components.files import read_json
from components.modalities.giants import ModelConfig
from components.modalities.sounds import giants
from components.modalities.sounds.form import SoundsConfig
from models import audio_encoders, log_mel, waveforms
from models.audio_encoders import FAMILIES, RATE, Preset
from models.mistakes import Mistake
from models.splitting import block_starts
from models.taps import find as find_taps
from tests.audio_presets import BASE, CONFIG, LARGE, theirs, write_audio_preset
from tests.components.modalities.test_sounds import write_tones
from tests.conftest import InProcess
from tests.cuts import Presets, check_every_cut, kept

SECONDS = 0.5


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Presets:
    return kept(tmp_path_factory.mktemp("presets"), write_audio_preset)


def opened(folder: Path) -> Preset:
    processor = folder / "preprocessor_config.json"
    said = read_json(processor) if processor.exists() else {}
    return Preset(folder, read_json(folder / "config.json"), said)


def encoder(family: str, folder: Path, pooling: Any = "avg", seconds: float = SECONDS) -> Any:
    samples = keras.Input((round(seconds * RATE),), name="samples")
    return audio_encoders.build_encoder(
        family, opened(folder), samples, weights=True, pooling=pooling
    )


def heard(lengths: list[int], size: int = round(SECONDS * RATE)) -> np.ndarray:
    """(sounds, size): noise of these lengths, and 0 after it."""
    rng = np.random.default_rng(1)
    there = np.arange(size) < np.array(lengths)[:, None]
    return (there * rng.uniform(-1, 1, there.shape)).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_suffix_of_prefix_is_the_whole_at_every_cut(family: str, presets: Presets) -> None:
    """What crosses is of the length of the layers' outputs, and not that of the samples."""

    def short(crossing: list[Any]) -> None:
        assert sorted(len(tensor.shape) for tensor in crossing) == [2, 3]
        assert len({tensor.shape[1] for tensor in crossing}) == 1

    network = encoder(family, presets(family))
    check_every_cut(network, FAMILIES[family].block, heard([8000, 5000, 900]), short)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_is_heard_is_pooled(family: str, pooling: str, presets: Presets) -> None:
    """Of the layers' outputs; the taps as well."""
    network = encoder(family, presets(family), pooling)
    starts = block_starts(network, FAMILIES[family].block)
    hidden = network.layers[-1].input if pooling == "avg" else None
    sounds = heard([4000])
    places = int(np.asarray(keras.Model(network.input, seen(network))(sounds)).sum())
    assert 0 < places < seen(network).shape[1] * 0.7
    if hidden is not None:
        hidden = keras.tree.flatten(hidden)[0]
        outputs = np.asarray(keras.Model(network.input, hidden)(sounds, training=False))
        got = np.asarray(network(sounds, training=False))
        np.testing.assert_allclose(got[0], outputs[0, :places].mean(axis=0), atol=1e-5)
    taps = find_taps(network, starts, audio_encoders.tapped(network))
    assert [tap.block for tap in taps] == list(starts)


def seen(network: keras.Model) -> Any:
    return network.get_layer("heard").output[1]


def test_places_are_counted_through_the_convolutions() -> None:
    convolutions = [(10, 5), (3, 2), (2, 2)]
    layer = waveforms.Heard(convolutions)
    _, alone = layer(np.ones((1, 777), np.float32))
    _, filled = layer(np.pad(np.ones((1, 777), np.float32), [[0, 0], [0, 1000]]))
    assert int(np.asarray(alone).min()) == 1
    assert int(np.asarray(filled).sum()) == alone.shape[1]
    _, silent = layer(np.zeros((1, 777), np.float32))
    assert int(np.asarray(silent).sum()) == 1


@pytest.mark.parametrize("samples", [16_000, 16_080, 18_000, 2_000, 16_159, 16_160, 16_319])
def test_whisper_hears_any_length(presets: Presets, samples: int) -> None:
    """Also where the last places are of less than 320 samples."""
    network = encoder("Whisper", presets("Whisper"), seconds=samples / RATE)
    assert np.isfinite(network(heard([samples], samples), training=False)).all()


def test_whisper_reads_what_keras_hub_gives_it(presets: Presets) -> None:
    """Its converter, its encoder, of all of 30 s; and the longest that is allowed."""
    sounds = heard([8000, 300_000], 30 * RATE)
    converter = keras_hub.layers.WhisperAudioConverter(num_mels=20)
    features = np.asarray(converter(sounds))
    ours = np.asarray(log_mel.WhisperMel(mels=20)(sounds))
    np.testing.assert_allclose(ours, features, atol=1e-4)
    backbone = keras_hub.models.WhisperBackbone.from_preset(str(presets("Whisper")))
    tokens = np.ones((2, 1), "int32")
    given = {"encoder_features": features, "decoder_token_ids": tokens}
    outputs = np.asarray(
        backbone(given | {"decoder_padding_mask": tokens})["encoder_sequence_output"]
    )
    got = np.asarray(encoder("Whisper", presets("Whisper"), seconds=30.0)(sounds, training=False))
    for row, length in enumerate((8000 // 320, -(-300_000 // 320))):
        np.testing.assert_allclose(got[row], outputs[row, :length].mean(axis=0), atol=1e-4)
    with pytest.raises(Mistake, match=r"sounds\.seconds must be at most 30 for Whisper, got 31"):
        encoder("Whisper", presets("Whisper"), seconds=31.0)


def test_moonshine_says_what_keras_hub_says(presets: Presets) -> None:
    backbone = keras_hub.models.MoonshineBackbone.from_preset(str(presets("Moonshine")))
    sounds = heard([5000, 8000])
    tokens = np.ones((2, 1), "int32")
    given = {
        "encoder_input_values": sounds[:, :, None],
        "encoder_padding_mask": np.arange(8000) < np.array([5000, 8000])[:, None],
        "decoder_token_ids": tokens,
        "decoder_padding_mask": tokens.astype(bool),
    }
    outputs = backbone(given)
    there = np.asarray(outputs["encoder_attention_mask"]).reshape(2, -1)
    hidden = np.asarray(outputs["encoder_sequence_output"])
    got = np.asarray(encoder("Moonshine", presets("Moonshine"))(sounds, training=False))
    for row in range(2):
        np.testing.assert_allclose(got[row], hidden[row][there[row]].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("others", [BASE, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("family", ["wav2vec 2.0", "HuBERT"])
def test_wav2vec_says_what_its_paper_says(
    family: str, others: dict[str, Any], tmp_path: Path
) -> None:
    """Computed again in NumPy, of each sound alone where the model was trained to mask the rest."""
    folder = write_audio_preset(family, tmp_path / "theirs", **others)
    network = encoder(family, folder)
    sounds = heard([8000, 5000])
    got = np.asarray(network(sounds, training=False))
    config = read_json(folder / "config.json")
    known = theirs(config, 0)
    whole = others is BASE  # It hears the silence after the sound, too.
    for row, length in enumerate((8000, 5000)):
        samples = sounds[row] if whole else sounds[row, :length]
        scaled = np.zeros_like(samples)
        own = samples[:length]
        scaled[:length] = (own - own.mean()) / np.sqrt(own.var() + 1e-7)
        hidden = in_numpy(config, known, scaled)
        places = len(in_numpy(config, known, scaled[:length]))
        np.testing.assert_allclose(got[row], hidden[:places].mean(axis=0), atol=2e-5)


def in_numpy(config: dict[str, Any], known: dict[str, np.ndarray], x: Any) -> Any:
    """(samples,) → (places, features), written from arXiv:2006.11477 and nothing of ours."""

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))

    def linear(x: Any, name: str) -> Any:
        return x @ known[f"{name}.weight"].T + known[f"{name}.bias"]

    def norm(x: Any, name: str, axis: int = -1) -> Any:
        centred = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)
        return centred * known[f"{name}.weight"] + known[f"{name}.bias"]

    x = x[:, None].astype(np.float64)
    layered = config["feat_extract_norm"] == "layer"
    for number, stride in enumerate(config["conv_stride"]):
        where = f"feature_extractor.conv_layers.{number}"
        kernel = known[f"{where}.conv.weight"]
        size = kernel.shape[-1]
        starts = range(0, len(x) - size + 1, stride)
        x = np.stack([np.einsum("ki,oik->o", x[at : at + size], kernel) for at in starts])
        x = x + known.get(f"{where}.conv.bias", 0.0)
        if layered:
            x = norm(x, f"{where}.layer_norm")
        elif number == 0:
            x = norm(x, f"{where}.layer_norm", axis=0)
        x = gelu(x)
    x = linear(norm(x, "feature_projection.layer_norm"), "feature_projection.projection")
    where = "encoder.pos_conv_embed.conv"
    v, g = known[f"{where}.weight_v"], known[f"{where}.weight_g"]
    kernel = g * v / np.sqrt((v**2).sum(axis=(0, 1), keepdims=True))
    size, groups = kernel.shape[-1], config["num_conv_pos_embedding_groups"]
    padded = np.pad(x, [[size // 2, size // 2], [0, 0]])
    out = np.zeros_like(x)
    wide = x.shape[1] // groups
    for at in range(len(x)):
        for channel in range(x.shape[1]):
            first = channel // wide * wide
            seen = padded[at : at + size, first : first + wide]
            out[at, channel] = (seen * kernel[channel].T).sum()
    x = x + gelu(out + known[f"{where}.bias"])
    stable, heads = config["do_stable_layer_norm"], config["num_attention_heads"]
    if not stable:
        x = norm(x, "encoder.layer_norm")
    for number in range(config["num_hidden_layers"]):
        where = f"encoder.layers.{number}"
        y = norm(x, f"{where}.layer_norm") if stable else x
        parts = [linear(y, f"{where}.attention.{p}_proj") for p in "qkv"]
        q, k, v = (part.reshape(len(x), heads, -1).swapaxes(0, 1) for part in parts)
        weights = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]), axis=-1)
        y = linear((weights @ v).swapaxes(0, 1).reshape(x.shape), f"{where}.attention.out_proj")
        x = x + y if stable else norm(x + y, f"{where}.layer_norm")
        y = norm(x, f"{where}.final_layer_norm") if stable else x
        y = linear(
            gelu(linear(y, f"{where}.feed_forward.intermediate_dense")),
            f"{where}.feed_forward.output_dense",
        )
        x = x + y if stable else norm(x + y, f"{where}.final_layer_norm")
    return norm(x, "encoder.layer_norm") if stable else x


def test_weights_by_their_newer_names(tmp_path: Path) -> None:
    """As PyTorch calls the two parts of a kernel since 2.1."""
    folder = write_audio_preset("HuBERT", tmp_path / "theirs")
    before = np.asarray(encoder("HuBERT", folder)(heard([8000]), training=False))
    file = folder / "model.safetensors"
    renamed = {}
    for name, value in safetensors.numpy.load_file(file).items():
        for number, part in enumerate("gv"):
            name = name.replace(f"weight_{part}", f"parametrizations.weight.original{number}")
        renamed[name] = value
    safetensors.numpy.save_file(renamed, file)
    after = np.asarray(encoder("HuBERT", folder)(heard([8000]), training=False))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            family, marks=pytest.mark.slow if family == "HuBERT" else pytest.mark.exhaustive
        )
        for family in FAMILIES
    ],
)
def test_every_family_is_exported_and_agrees(
    family: str, presets: Presets, in_process: InProcess, tmp_path: Path
) -> None:
    """The whole flow on it; `export` fails where what is served is not what was trained."""
    status, out, err = in_process(
        *("run", "sounds", write_tones(tmp_path / "data", 24), "--store", tmp_path / "store"),
        *("--serving-dir", tmp_path / "served", "--json", "--bless.beat-trivial=false"),
        *("--model.backbone", presets(family), "--sounds.seconds", SECONDS),
        *("--fine-tune.unfreeze", 1, "--fine-tune.epochs", 1, "--head.epochs", 1),
        *("--control.no-enabled", "--head.features", "last"),
    )
    assert status == 0, err
    stats = {stage["name"]: stage["stats"] for stage in json.loads(out)["stages"]}
    assert stats["fine_tune"]["moved"] > 0
    assert stats["export"]["largest_difference"] < 1e-5


def test_what_cannot_be_read_is_said(presets: Presets, tmp_path: Path) -> None:
    def found(folder: Path | str) -> Any:
        return giants.find(ModelConfig(backbone=str(folder)), SoundsConfig(), download=False)

    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text('{"model_type": "wavlm"}')
    with pytest.raises(Mistake, match=r"of one of the families wav2vec 2\.0, HuBERT .* is wavlm"):
        found(strange)
    with pytest.raises(Mistake, match=r"a name in the table of backbones, .* got 'yamnett'"):
        found("yamnett")
    folder = write_audio_preset("HuBERT", tmp_path / "cut")
    config = {"model_type": "hubert", **CONFIG, **BASE, "hidden_size": 32}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Mistake, match=r"model\.backbone must hold weights that fit its config"):
        encoder("HuBERT", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "hubert", **BASE}))
    with pytest.raises(Mistake, match=r"model\.backbone must have conv_dim in its config\.json"):
        encoder("HuBERT", folder)
