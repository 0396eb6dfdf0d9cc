"""What networks hear is what librosa computes, whatever the backend, and in ONNX's terms."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import librosa
import numpy as np
import pytest
from librosa.filters import mel

from models import log_mel, yamnet
from models.mistakes import Mistake

NOISE = np.random.default_rng(0).normal(0, 0.1, (2, 15_600)).astype(np.float32)


@pytest.mark.parametrize(("mels", "low", "high"), [(64, 125.0, 7500.0), (128, 20.0, 8000.0)])
def test_bands_are_those_of_librosa(mels: int, low: float, high: float) -> None:
    known = mel(sr=16_000, n_fft=4096, n_mels=mels, fmin=low, fmax=high, htk=True, norm=None)
    found = log_mel.mel_matrix(bins=2049, mels=mels, rate=16_000, low=low, high=high)
    assert np.abs(found - known.T).max() < 1e-6


def test_yamnet_hears_what_librosa_computes() -> None:
    network = yamnet.yamnet()
    heard = np.asarray(network.get_layer("log_mel")(NOISE))[..., 0]
    assert heard.shape == (2, 96, 64)
    bands = mel(sr=16_000, n_fft=512, n_mels=64, fmin=125, fmax=7500, htk=True, norm=None)
    for row, samples in zip(heard, NOISE, strict=True):
        # librosa has a window in the middle of a longer transform: magnitudes are the same.
        padded = np.pad(samples, 56)
        spectrum = librosa.stft(padded, n_fft=512, win_length=400, hop_length=160, center=False)
        known = np.log((bands @ np.abs(spectrum)).T + 0.001)
        assert np.abs(row - known).max() < 1e-4


def test_a_picture_of_a_sound_does_not_depend_on_how_loud_it_is() -> None:
    layer = log_mel.MelPicture(
        rate=16_000, windows=(256, 512, 1024), hop=125, mels=128, low=20.0, high=8000.0
    )
    picture = np.asarray(layer(NOISE))
    assert picture.shape == (2, 125, 128, 3)
    assert (picture.min(), picture.max()) >= (0.0, 254.9)
    assert np.abs(np.asarray(layer(NOISE / 10)) - picture).max() < 0.05
    again = log_mel.MelPicture.from_config(layer.get_config())
    assert np.abs(np.asarray(again(NOISE)) - picture).max() == 0
    assert not layer.weights


def write_yamnet(published: Path, folded: Path) -> None:
    """Random weights, in the layout of the published file, Keras 2's, and folded."""
    rng = np.random.default_rng(0)
    network = yamnet.yamnet()
    arrays: dict[str, np.ndarray] = {"logits/kernel": rng.normal(size=(1024, 521))}
    arrays["logits/bias"] = rng.normal(size=521)
    with h5py.File(published, "w") as file:
        for name, value in arrays.items():
            file[f"logits/{name}:0"] = value
        for layer in network.layers:
            if not layer.weights or layer.name.endswith("_bn"):
                continue
            where = layer.name.replace("_", "/", 1)
            kind = "depthwise_kernel" if "depthwise" in where else "kernel"
            kernel = rng.normal(0, 0.1, layer.kernel.shape).astype(np.float32)
            channels = kernel.size // (9 if "depthwise" in where else kernel[..., 0].size)
            beta, mean = rng.normal(0, 0.1, (2, channels))
            variance = rng.uniform(0.5, 2, channels)
            file[f"{where}/{where}/{kind}:0"] = kernel
            for part, value in (("beta", beta), ("moving_mean", mean)):
                file[f"{where}/bn/{where}/bn/{part}:0"] = value
            file[f"{where}/bn/{where}/bn/moving_variance:0"] = variance
            scale = 1 / np.sqrt(variance + 1e-4)
            turned = scale[:, None] if "depthwise" in where else scale
            arrays[f"{where}/kernel"] = (kernel * turned).astype(np.float32)
            arrays[f"{where}/bias"] = beta - mean * scale
    np.savez(folded, **arrays)  # type: ignore[arg-type]


def test_yamnets_published_file_and_its_folded_one_say_the_same(tmp_path: Path) -> None:
    network = yamnet.yamnet()
    published, folded = tmp_path / "yamnet.h5", tmp_path / "yamnet.npz"
    write_yamnet(published, folded)
    said = []
    for path in (published, folded):
        yamnet.load(network, path)
        said.append(np.asarray(network(NOISE)))
    assert np.ptp(said[0]) > 0.01
    assert np.abs(said[0] - said[1]).max() < 1e-5 * np.abs(said[0]).max() + 1e-6
    assert yamnet.head(published)[0].shape == (1024, 521)

    network = yamnet.yamnet()
    (tmp_path / "other.h5").write_bytes(b"not a file of weights")
    with pytest.raises(Mistake, match=r"model\.weights must be YAMNet's"):
        yamnet.load(network, tmp_path / "other.h5")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save_weights(
        tmp_path / "own.weights.h5"
    )
    with pytest.raises(Mistake, match="without layer1/conv/kernel"):
        yamnet.load(network, tmp_path / "own.weights.h5")
