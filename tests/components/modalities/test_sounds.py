"""Sounds: what is usable, that all WAV files of a sound are heard alike, and the whole of a run."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import struct
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from components.examples import inputs
from components.frozen.networks import open_backbone
from components.modalities.giants import Pretrained
from components.modalities.sounds import pieces, resampling, shown, views
from components.modalities.sounds import raw as sounds
from components.modalities.sounds.form import Sound
from models.mistakes import Mistake
from tests.conftest import InProcess
from tests.helpers import assembled, ingested
from tests.models.test_log_mel import write_yamnet

RATE = 16_000
FORM = Sound(rate=RATE, seconds=0.5)
KINDS = [
    *(("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("WAVEX", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
]


def tone(pitch: float, seconds: float = 0.4, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """(samples,) of a tone with a little noise."""
    at = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(at))
    return 0.3 * np.sin(2 * np.pi * pitch * at) + noise


def encoded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", sub: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=sub)
    return buffer.getvalue()


GOOD = encoded(tone(440.0))


def with_chunk_before(raw: bytes) -> bytes:
    """A list of odd length before the format."""
    extra = b"LIST" + struct.pack("<I", 7) + b"INFOabc" + b"\0"
    return raw[:4] + struct.pack("<I", len(raw) - 8 + len(extra)) + raw[8:12] + extra + raw[12:]


def patched(raw: bytes, at: int, value: bytes) -> bytes:
    return raw[:at] + value + raw[at + len(value) :]


@pytest.mark.parametrize(("kind", "sub"), KINDS)
def test_all_kinds_of_wav_are_heard_alike(kind: str, sub: str) -> None:
    both = np.stack([tone(440.0), tone(600.0)], axis=1)
    signal, rate = sounds.heard(encoded(both, kind=kind, sub=sub))
    assert rate == RATE
    assert np.abs(signal - both.mean(axis=1)).max() < (1e-2 if sub == "PCM_U8" else 1e-4)


def test_chunks_anywhere_and_lengths_that_were_not_known_yet_are_read() -> None:
    known, _ = sounds.heard(GOOD)
    for raw in (
        with_chunk_before(GOOD),
        patched(GOOD, 40, b"\xff\xff\xff\xff"),
        GOOD + b"LIST" + struct.pack("<I", 4) + b"INFO",
    ):
        assert np.array_equal(sounds.heard(raw)[0], known)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"<!doctype html><title>404 Not Found</title>" + b" " * 40, "is not a WAV file"),
        (b"ID3" + bytes(100), "is a file of kind MP3; only WAV is served: --data.convert"),
        (GOOD[:2000], "is cut off"),
        (patched(GOOD, 4, struct.pack("<I", 2**32 - 1))[:40], "is too short"),
        (patched(GOOD, 40, struct.pack("<I", 10**9)), "is cut off"),
        (patched(GOOD, 22, b"\0\0"), "must have 1 to 64 channels"),
        (patched(GOOD, 24, struct.pack("<I", 0)), "samples a second"),
        (patched(GOOD, 20, b"\x07\0"), "is neither PCM nor float"),
        (patched(GOOD, 34, b"\x0c\0"), "of a width that is not read"),
        (encoded(tone(440.0)[:1]), "lasts less than 0.01 s"),
        (encoded(np.full(4000, np.nan), sub="FLOAT"), "has samples that are no numbers"),
        (GOOD[:36] + b"fact" + GOOD[40:], "has no samples"),
    ],
)
def test_unusable_sounds_have_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        sounds.check(raw)


def test_what_is_converted_is_as_loud_and_is_clipped_where_it_is_too_loud() -> None:
    as_floats = encoded(tone(440.0), kind="AIFF", sub="FLOAT")
    assert sounds.check(sounds.converted(as_floats))["peak"] == sounds.check(GOOD)["peak"]
    loud = sounds.converted(encoded(3 * tone(440.0), kind="OGG", sub="VORBIS"))
    signal, _ = sounds.heard(loud)
    assert np.abs(np.diff(signal)).max() < 0.6  # Nothing has wrapped around.


@pytest.mark.parametrize("sub", ["ULAW", "ALAW", "MS_ADPCM", "GSM610"])
def test_what_telephones_write_is_converted(sub: str) -> None:
    raw = encoded(tone(440.0, rate=8000), 8000, sub=sub)
    with pytest.raises(ValueError, match=r"is neither PCM nor float: --data\.convert"):
        sounds.check(raw)
    assert sounds.check(sounds.converted(raw))["rate"] == 8000


@pytest.mark.parametrize("kind", [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_what_is_no_wav_is_converted(kind: tuple[str, str]) -> None:
    raw = encoded(tone(440.0), kind=kind[0], sub=kind[1])
    with pytest.raises(ValueError, match=r"--data\.convert"):
        sounds.check(raw)
    facts = sounds.check(sounds.converted(raw))
    assert facts["rate"] == RATE
    assert facts["peak"] == pytest.approx(sounds.check(GOOD)["peak"], abs=1)
    assert sounds.converted(GOOD) is GOOD
    assert sounds.converted(b"fLaC and no more") == b"fLaC and no more"


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 192_000, 44_101])
def test_another_rate_is_heard_as_soxr_hears_it(rate: int) -> None:
    top = 0.42 * min(rate, RATE)
    at = np.arange(rate) / rate
    signal = sum(0.1 * np.sin(2 * np.pi * hz * at + hz) for hz in np.linspace(60, top, 30))
    assert isinstance(signal, np.ndarray)
    found = resampling.resampled(tf.constant(signal, tf.float32), tf.constant(rate), RATE).numpy()
    known = soxr.resample(signal, rate, RATE, quality="VHQ")
    assert len(found) == len(known) == RATE
    inside = slice(800, -800)
    apart = np.square(found - known)[inside].mean()
    assert 10 * np.log10(np.square(known)[inside].mean() / apart) > 60


def test_views_differ_and_are_the_same_tomorrow() -> None:
    samples = sounds.decode(FORM, tf.constant(GOOD))
    for policy in sounds.POLICIES:
        change = views.augmenter(FORM, (policy,), 0)
        one, again, other, itself = (
            change(samples, tf.constant("a"), tf.constant(view)).numpy() for view in (1, 1, 2, 0)
        )
        assert one.shape == (FORM.samples,)
        assert np.isfinite(one).all()
        assert np.array_equal(one, again)
        assert np.array_equal(itself, samples.numpy())
        assert np.abs(one - itself).max() > 1e-3, policy
        assert np.abs(one - other).max() > 1e-3, policy


def test_a_higher_view_is_as_long_and_a_faster_one_as_high() -> None:
    form = Sound(rate=RATE, seconds=1.0)
    samples = tf.constant(tone(440.0, 1.0), tf.float32)

    def pitch(view: Any) -> float:
        spectrum = np.abs(np.fft.rfft(np.asarray(view) * np.hanning(RATE)))
        return float(np.argmax(spectrum))

    for number in (1, 2, 3):
        identity, view = tf.constant("a"), tf.constant(number)
        stretched = views.augmenter(form, ("stretch",), 0)(samples, identity, view)
        assert pitch(stretched) == pytest.approx(440, abs=4)
        shifted = views.augmenter(form, ("pitch",), 0)(samples, identity, view)
        assert 440 * 2 ** (-2 / 12) - 3 < pitch(shifted) < 440 * 2 ** (2 / 12) + 3


def mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def test_what_counted_is_red() -> None:
    """The second quarter is what is asked about; the spectrogram has its one tone."""

    def ask(raws: list[bytes]) -> np.ndarray:
        heard = [sounds.heard(raw)[0] for raw in raws]
        return np.array([np.abs(x[len(x) // 4 : len(x) // 2]).mean() for x in heard])

    page = shown.show(GOOD, ask)
    drawn, played = (
        base64.b64decode(page.partition(f"{kind};base64,")[2].partition('"')[0])
        for kind in ("image/png", "audio/wav")
    )
    bright = np.asarray(Image.open(io.BytesIO(drawn))).sum(axis=2).mean(axis=1)[::-1]
    place = (mel(440.0) - mel(50.0)) / (mel(RATE / 2) - mel(50.0))
    assert bright.argmax() == pytest.approx(65 * place - 1, abs=1)
    assert sounds.check(played)["rate"] == RATE
    red = [line for line in page.split("<rect")[1:] if "rgb(220 38 38) 0%" not in line]
    assert 35 <= len(red) <= 45
    assert "rgb" in shown.show(GOOD, None)


def write_tones(root: Path, each: int) -> Path:
    """Low and high tones at several rates and in several kinds of files."""
    for label, pitch in (("low", 300.0), ("high", 1500.0)):
        (root / label).mkdir(parents=True)
        for number in range(each):
            kind, sub = KINDS[number % 5]
            rate = (8_000, 16_000, 22_050)[number % 3]
            samples = tone(pitch * (1 + 0.01 * number), 0.3, rate, number)
            (root / label / f"{number}.wav").write_bytes(encoded(samples, rate, kind, sub))
    return root


def test_the_whole_of_a_run(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones", 24)
    (folder / "low" / "music.flac").write_bytes(encoded(tone(310.0), kind="FLAC", sub="PCM_16"))
    (folder / "high" / "page.wav").write_bytes(b"<!doctype html>" + b" " * 100)
    here = InProcess(tmp_path)
    (folder / "low" / "long.wav").write_bytes(encoded(tone(320.0, 2.0)))
    result = here.result(
        *("sounds", "--data.path", folder, "--model.backbone", "ConvNet"),
        *("--model.weights", "none", "--sounds.seconds", 0.4, "--sounds.mels", 32),
        *("--sounds.hop", 0.3, "--sounds.longest", 1.0),
        *("--augment.views", 2, "--head.features", "last", "--head.learning-rate", 0.01),
        *("--head.epochs", 100, "--head.patience", 30),
        *("--fine-tune.unfreeze", 1, "--fine-tune.epochs", 2, "--bless.force", "a test"),
        *("--control.enabled", "true", "--control.epochs", 2),
    )
    assert result["blessed"]
    stages = {stage["name"]: stage for stage in result["stages"]}
    assert stages["ingest"]["stats"]["quarantined"] == 1
    assert "are longer than the 1 s that are heard" in stages["extract"]["stats"]["note"]
    [contract] = Path(result["pushed"]).rglob("contract.json")
    said = json.loads(contract.read_text())
    assert (said["rate"], said["seconds"]) == (RATE, 1.0)
    assert said["windows"] == {"count": 3, "seconds": 0.4, "hop": 0.3}

    model = tf.saved_model.load(result["pushed"])
    good, other = encoded(tone(310.0)), encoded(tone(1500.0, rate=44_100), 44_100)
    broken = (GOOD[:2000], b"", b"<html>" + b" " * 60)
    batch = tf.constant([good, *broken, other])
    served = {k: v.numpy() for k, v in model.signatures["serving_default"](batch).items()}
    assert served["valid"].tolist() == [True, False, False, False, True]
    alone = model.signatures["serving_default"](tf.constant([other]))["probabilities"].numpy()
    assert np.abs(served["probabilities"][-1] - alone[0]).max() < 1e-5
    alike = [encoded(tone(310.0), kind=kind, sub=sub) for kind, sub in KINDS]
    answers = model.signatures["serving_default"](tf.constant(alike))["probabilities"].numpy()
    assert np.abs(answers - answers[1])[1:6].max() < 1e-3
    samples = sounds.decode(Sound(rate=RATE, seconds=1.0), tf.constant(good))[tf.newaxis]
    floats = model.signatures["serve_float"](samples)["probabilities"].numpy()
    assert np.abs(floats[0] - served["probabilities"][0]).max() < 1e-5

    long = np.concatenate([tone(1500.0, 3.0), tone(310.0, 4.0), tone(1500.0, 3.0)])
    (tmp_path / "ten.flac").write_bytes(encoded(long, kind="FLAC", sub="PCM_24"))
    asked = ("predict", result["pushed"], tmp_path / "ten.flac", "--every", 0.5)
    [told] = json.loads(here(*asked, "--events", 0.5, "--json").stdout)
    steps = told["steps"]
    assert (steps[0]["start"], steps[-1]["end"]) == (0.0, 10.0)
    assert all(a["end"] == b["start"] for a, b in itertools.pairwise(steps))
    assert {step["label"] for step in steps if 4 < step["start"] < 6} == {"low"}
    assert [event["label"] for event in told["events"]] == ["high", "low", "high"]
    heard = told["events"][1]
    assert (heard["start"], heard["end"]) == (pytest.approx(3, abs=0.6), pytest.approx(7, abs=0.6))
    lines = here(*asked).stdout.splitlines()
    assert len(lines) == len(steps)
    assert lines[0].split("\t")[:3] == ["0.000", "0.750", "high"]
    refused = here("predict", result["pushed"], folder / "high" / "page.wav", "--every", 1)
    assert (refused.returncode, "INPUT must be a recording" in refused.stderr) == (2, True)


def test_yamnet_by_its_file_is_yamnet_where_keras_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the head that it was published with beside it, for what is forgotten."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    home = tmp_path / "models"
    home.mkdir()
    write_yamnet(tmp_path / "elsewhere.h5", home / "yamnet_folded.npz")
    examples = ingested(tmp_path / "examples", write_tones(tmp_path / "tones", 6), modality="sound")
    kept = assembled(tmp_path / "kept", examples, None, backbone="YAMNet")
    with np.load(kept.own_head) as head:
        assert (head["kernel"].shape, head["bias"].shape) == ((1024, 521), (521,))
    file = Pretrained("a file", "a file", tmp_path / "elsewhere.h5")
    named = assembled(tmp_path / "named", examples, file, backbone="YAMNet")
    heard = np.random.default_rng(0).uniform(-1, 1, (2, 15_600)).astype(np.float32)
    said = [np.asarray(open_backbone(x, x.weights)(heard, training=False)) for x in (kept, named)]
    np.testing.assert_allclose(said[0], said[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, None])
def test_a_dataset_of_tfds_with_audio(tmp_path: Path, rate: int | None) -> None:
    """Its integers become WAV; without a rate nobody knows what they are."""
    features = tfds.features.FeaturesDict(
        {
            "audio": tfds.features.Audio(sample_rate=rate),
            "label": tfds.features.ClassLabel(names=["high", "low"]),
        }
    )
    spoken = [(n, 1500.0 if n % 2 == 0 else 310.0) for n in range(24)]
    examples = [
        (n, {"audio": (32768 * tone(pitch, 0.2, 8_000, n)).astype("int64"), "label": n % 2})
        for n, pitch in spoken
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="spoken",
        version="1.0.0",
        features=features,
        data_dir=tmp_path / "tfds",
        split_datasets={"train": examples},
        disable_shuffling=True,
    )
    place = f"tfds:{tmp_path / 'tfds' / 'spoken' / '1.0.0'}"
    if rate is None:
        with pytest.raises(Mistake, match="is of a feature of TFDS without a sample_rate"):
            ingested(tmp_path / "made", place, modality="sound")
        return
    made = ingested(tmp_path / "made", place, modality="sound")
    assert sum(made.counts.values()) == 24
    index = (made.directory / "index.jsonl").read_text().splitlines()
    assert {json.loads(line)["facts"]["rate"] for line in index} == {8_000}
    builder = inputs.open_tfds(place, "sound")
    heard, _ = sounds.heard(next(inputs.of_tfds(builder, "sound")).read())
    assert np.abs(heard - tone(1500.0, 0.2, 8_000, 0)).max() < 1e-4


def test_audio_of_tfds_of_another_scale() -> None:
    feature = tfds.features.Audio(sample_rate=16_000)
    wave_of = np.sin(np.arange(1600) / 9.0)
    for samples in (wave_of * 2**22, wave_of * 20_000, np.r_[wave_of, np.nan]):
        kind = "int32" if samples.max() > 30_000 else "float32"
        with pytest.raises(ValueError, match="samples"):
            sounds.of_tfds(feature, samples.astype(kind))
    heard, _ = sounds.heard(sounds.of_tfds(feature, (1.02 * wave_of).astype("float32")))
    assert np.abs(heard - np.clip(1.02 * wave_of, -1, 1)).max() < 1e-4


@pytest.mark.parametrize(("hop", "longest"), [(0.3333, 10.0), (0.06251, 600.0), (0.5, 30.0)])
def test_windows_are_as_many_as_were_counted(hop: float, longest: float) -> None:
    count = 1 + math.ceil((longest - 0.975) / hop)
    form = Sound(rate=16_000, seconds=0.975 + (count - 1) * hop, window=0.975, hop=hop)
    assert form.windows == count
    assert form.samples == form.at_once + (count - 1) * form.step


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.raw", bytes(9000)), ("cut.flac", encoded(np.zeros((9000, 1)), 8_000, "FLAC")[:60])],
)
def test_recordings_that_are_none(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Mistake, match="INPUT must be a recording"):
        list(pieces.pieces(tmp_path / name, {"seconds": 1.0}, 0.4)[1])


def test_pieces_far_apart_have_all_a_length(tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(encoded(np.ones((24_000, 1)) / 2, 8_000))
    for every, count in ((100.0, 1), (2.0, 2), (1.5, 2), (1.0, 3)):
        _, found = pieces.pieces(tmp_path / "long.wav", {"seconds": 1.0}, every)
        lengths = [len(sounds.heard(raw)[0]) for _, raw in found]
        assert lengths == [8_000] * count, every


def test_pieces_are_what_is_heard_there(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    (tmp_path / "long.wav").write_bytes(encoded(samples, 8_000, sub="PCM_24"))
    seconds, found = pieces.pieces(tmp_path / "long.wav", {"seconds": 1.0}, 0.4)
    assert seconds == 2.5
    middles, raws = zip(*found, strict=True)
    assert middles == pytest.approx([0.5, 0.9, 1.3, 1.7, 2.1])
    for number, raw in enumerate(raws):
        signal, rate = sounds.heard(raw)
        expected = samples[number * 3200 : number * 3200 + 8000].mean(axis=1)
        assert rate == 8_000
        assert np.abs(signal - expected).max() < 1e-6
    short = tmp_path / "short.wav"
    short.write_bytes(GOOD)
    assert len(list(pieces.pieces(short, {"seconds": 1.0}, 0.4)[1])) == 1


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--model.backbone", "Yamnett"],
            "must be a name in the table of backbones, the name of a KerasHub preset",
        ),
        (["--model.backbone", "YAMNet"], "model.weights must be within reach, got those of YAMNet"),
        (["--model.weights", "imagenet"], "model.weights must be pretrained, none or a file"),
        (
            ["--model.backbone", "VGG16", "--model.weights", "none", "--sounds.seconds", "0.1"],
            "sounds.seconds must give VGG16 a picture of at least 32 pixels, got 0.1",
        ),
        (["--sounds.seconds", "0.01"], "sounds.seconds"),
        (["--model.backbone", "SmallConvNet", "--model.pooling", "cls"], "model.pooling must be"),
        (
            ["--model.backbone", "ConvNet", "--model.weights", "none", "--sounds.hop", "2"],
            "sounds.hop must be at most the 1 s of sounds.seconds, or some would not be heard, got",
        ),
        (
            ["--model.backbone", "VGG16", "--model.weights", "none", "--sounds.mels", "16"],
            "sounds.mels must give VGG16 a picture of at least 32 pixels, got 16",
        ),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], told: str
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folder = write_tones(tmp_path / "tones", 4)
    done = InProcess(tmp_path)("run", "sounds", "--data.path", folder, *flags)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_few_bytes_that_are_hours_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLAC of silence takes next to nothing; decoded, it would fill the memory."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((16_000, 2)), 16_000, format="FLAC")
    assert sounds.converted(buffer.getvalue()).startswith(b"RIFF")
    monkeypatch.setattr(sounds, "MOST_BYTES", 60_000)
    assert sounds.converted(buffer.getvalue()) == buffer.getvalue()


def test_what_is_heard_can_be_heard_again() -> None:
    given: Any = types.SimpleNamespace(form=FORM.model_dump())
    samples = np.sin(np.arange(FORM.samples) / 9).astype(np.float32)
    content, kind = shown.read(given, [samples])
    again, rate = soundfile.read(io.BytesIO(content))
    assert (kind, rate) == ("audio/wav", RATE)
    np.testing.assert_allclose(again, samples, atol=1e-3)
