"""Sounds: WAV bytes in, samples of one channel out.

Examples are kept as they came, at their own rate: so one set of examples serves giants that hear at
different rates, and what is trained on is resampled by the very graph that resamples what is asked.
"""

from __future__ import annotations

import io
import math
import re
import wave
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
from etils import epy

from components.files import MOST_BYTES
from components.modalities.sounds.form import Sound
from components.modalities.statistics import spread

with epy.lazy_imports():
    import soundfile
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from components.modalities.sounds import resampling, wav

in_tfds = "audio"
plural = "sounds"
column = "path"
is_path = True
suffixes: tuple[str, ...] = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff")
may_repeat = False
slices: tuple[str, ...] = ("duration", "loudness", "rate")
measures = "their length, their rate, how loud they are and how high"

# What `views` can do; here, so that a config is checked without TensorFlow.
POLICIES = ("gain", "shift", "noise", "stretch", "pitch", "masks")
# Those that are meant where none are given.
USUAL = ("gain", "shift", "noise", "masks")
# What other files begin with.
_OTHERS = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF"}
_OTHERS |= {bytes((0xFF, second)): "MP3" for second in range(0xE2, 0x100)}
# A minute of silence is a file that came in by mistake.
_SILENT = -80
_LOUDEST = 0.999
_SHOWN_RATE = 16_000


def feature() -> Any:
    """Files stored as they came, byte for byte."""
    return tfds.features.Text()


def of_tfds(feature: Any, value: Any) -> bytes:
    """A file as it came, or the integers or floats of `tfds.features.Audio` as WAV.

    ValueError where the dataset does not say how many samples it has a second, or has others.
    """
    if isinstance(value, bytes):
        return value
    rate = feature.sample_rate
    if not rate:
        raise ValueError("is of a feature of TFDS without a sample_rate")
    samples = value if value.ndim == 2 else value[:, None]
    if np.issubdtype(samples.dtype, np.floating):
        if not np.isfinite(samples).all():
            raise ValueError("has samples that are no numbers")
        samples = np.rint(samples * 32768.0)
    # A little more than the loudest is clipped; more than that is of another scale.
    if samples.size and np.abs(samples.astype(np.float64)).max() > 32768 * 1.1:
        raise ValueError("must have samples of 16 bits, or from -1 to 1")
    return written(np.clip(samples, -32768, 32767), int(rate))


def check(raw: bytes) -> dict[str, Any]:
    """Length, rate, and how loud and how high it is; ValueError with the reason if unusable."""
    if not raw:
        raise ValueError("is empty")
    for begins, kind in _OTHERS.items():
        if raw.startswith(begins):
            raise ValueError(f"is a file of kind {kind}; only WAV is served: --data.convert")
    signal, rate = heard(raw)
    power = float(np.square(signal, dtype=np.float64).mean())
    return {
        "rate": rate,
        "duration": round(1000 * len(signal) / rate),
        "loudness": round(10 * math.log10(max(power, 1e-10))),
        "peak": round(20 * math.log10(max(float(np.abs(signal).max()), 1e-5))),
        "clipped": round(1000 * float((np.abs(signal) >= _LOUDEST).mean())),
        "crossings": round(1000 * float((signal[:-1] * signal[1:] < 0).mean())),
    }


def heard(raw: bytes) -> tuple[np.ndarray, int]:
    """(samples,) in -1 … 1, the mean of the channels, and their rate; ValueError if unusable."""
    try:
        signal, rate = _parsed()(raw)
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:  # It quotes the bytes.
        told = re.search(r"assertion failed: \[(.*?)\]", str(error))
        raise ValueError(told[1] if told else "is damaged: it cannot be read") from error
    return signal.numpy(), int(rate)


def beginning(raw: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """Like `heard`, of so many seconds, at the rate of speech: small enough for a page."""
    form = Sound(rate=_SHOWN_RATE, seconds=seconds)
    signal, rate = heard(raw)
    length = min(form.samples, round(len(signal) * form.rate / rate))
    return decode(form, tf.constant(raw)).numpy()[:length], form.rate


@lru_cache
def _parsed() -> Any:
    """The parser that is served, in a graph: eagerly it takes ten times as long."""
    return tf.function(wav.samples, input_signature=[tf.TensorSpec((), tf.string)])


def measured(facts: dict[str, Any]) -> list[float]:
    """Length, rate, loudness, how far peaks are above it, and how often it crosses zero."""
    length, rate = math.log(max(1, facts["duration"])), math.log(facts["rate"])
    loud, peak = float(facts["loudness"]), float(facts["peak"])
    return [length, rate, loud, peak - loud, float(facts["crossings"]), float(facts["clipped"])]


def converted(raw: bytes) -> bytes:
    """Another format (FLAC, Ogg, MP3, AIFF …) as WAV of 16 bits, its channels and its rate kept.

    So is WAV that is compressed, as telephones do (mu-law, A-law, ADPCM). What can be served as it
    is, or cannot be read, stays as it is.
    """
    if raw.startswith(b"RIFF") and not _is_compressed(raw):
        return raw
    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            if file.frames * file.channels * 2 > MOST_BYTES:  # As a WAV file of so many bytes.
                return raw
        # As floats: of those, integers would be cut to 0; and what is too loud is clipped.
        samples, rate = soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)
    except Exception:  # `check` says what is wrong with it.
        return raw
    return written(np.clip(np.rint(samples * 32768.0), -32768, 32767), int(rate))


def _is_compressed(raw: bytes) -> bool:
    try:
        heard(raw)
    except ValueError as error:
        return wav.COMPRESSED in str(error)
    return False


def written(samples: np.ndarray, rate: int) -> bytes:
    """(samples, channels) of int16 as WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def canonical(raw: bytes) -> bytes:
    """The very bytes."""
    return raw


def decode(form: Sound, raw: Any) -> Any:
    """Scalar string tensor of WAV bytes → float32 (samples,) in -1 … 1, at the network's rate.

    The only decoder: ingest, extract and the served model all use it. Fails with
    InvalidArgumentError on anything else.
    """
    # A little more than is heard: new samples at the end are made of old ones around it.
    signal, rate = wav.samples(raw, form.seconds + 0.1)
    heard = resampling.resampled(signal, rate, form.rate)[: form.samples]
    return tf.ensure_shape(tf.pad(heard, [[0, form.samples - tf.size(heard)]]), (form.samples,))


def summary(facts: dict[str, Counter[int]]) -> dict[str, Any]:
    """Lengths in milliseconds and loudness in dB; rates; how many are silent, and clipped."""
    if not facts:
        return {}
    clipped = sum(count for share, count in facts["clipped"].items() if share > 10)
    silent = sum(count for loud, count in facts["loudness"].items() if loud <= _SILENT)
    return {
        "milliseconds": spread(facts["duration"]),
        "loudness_in_dB": spread(facts["loudness"]),
        "samples_a_second": dict(facts["rate"].most_common()),
        "clipped": clipped,
        "silent": silent,
    }


def warnings(summary: dict[str, Any]) -> list[str]:
    """Of what is silent, clipped, and of several rates."""
    found = []
    if silent := summary.get("silent"):
        found.append(f"{silent} sounds are silent.")
    if clipped := summary.get("clipped"):
        found.append(
            f"{clipped} sounds are clipped: more than 1 % of their samples are as loud as can be."
        )
    rates = summary.get("samples_a_second", {})
    if len(rates) > 1:
        told = ", ".join(f"{rate:,} ({count})" for rate, count in rates.items())
        found.append(f"Sounds are of several rates: {told}. Nothing is heard above half of a rate.")
    return found


def sample() -> bytes:
    """A second of 440 Hz."""
    wave_ = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    return written((8_000 * wave_).astype(np.int16)[:, None], 16_000)
