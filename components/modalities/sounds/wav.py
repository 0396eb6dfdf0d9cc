"""WAV bytes → samples, in TensorFlow's graph: the one parser of ingest, training and serving.

`tf.audio.decode_wav` reads 16-bit PCM behind a plain header and nothing else. This reads integers
of 8, 16, 24 and 32 bits and floats of 32 and 64, WAVE_FORMAT_EXTENSIBLE, and any chunks around
them (Multimedia Programming Interface and Data Specifications 1.0, 1991; Multiple Channel Audio
Data and WAVE Files, 2007).
"""

from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

# A header may have other chunks before the samples, but not without end.
_MOST_CHUNKS = 1000
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# (format tag, bits) → how the samples are stored.
KINDS = ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64))
LEAST_RATE, MOST_RATE, MOST_CHANNELS = 1_000, 384_000, 64
# What a reason begins with where the samples would have to be unpacked.
COMPRESSED = "is neither PCM nor float: --data.convert"
# What is written where the length was not known yet, by a program whose output was piped.
_UNKNOWN = 0x7FFF_0000
# What is shorter has nothing that could be heard.
LEAST_SECONDS = 0.01


def samples(raw: Any, most_seconds: float | None = None) -> tuple[Any, Any]:
    """Scalar string tensor → (samples,) float32 in -1 … 1, the mean of the channels; their rate.

    Fails with InvalidArgumentError, which says why, on anything else.

    Args:
        most_seconds: what comes later is not read; None for all.
    """
    size = tf.strings.length(raw)
    with _required(size >= 44, "is too short to be a WAV file"):
        head = tf.strings.substr(raw, 0, 12)
    is_wav = tf.equal(tf.strings.substr(head, 0, 4), "RIFF") & tf.equal(
        tf.strings.substr(head, 8, 4), "WAVE"
    )
    with _required(is_wav, "is not a WAV file"):
        fmt, data, promised = _chunks(raw, size)
    with _required(data > 0, "has no samples: a chunk is missing"):
        tag, channels = _number(raw, fmt, 2), _number(raw, fmt + 2, 2)
    rate, bits = _number(raw, fmt + 4, 4), _number(raw, fmt + 14, 2)
    tag = tf.cond(
        tf.equal(tag, _EXTENSIBLE), lambda: _number(raw, fmt + 24, 2), lambda: tf.identity(tag)
    )
    known = [tf.equal(tag, own) & tf.equal(bits, wide) for own, wide in KINDS]
    sane = (channels >= 1) & (channels <= MOST_CHANNELS)
    audible = (rate >= LEAST_RATE) & (rate <= MOST_RATE)
    left = size - data
    cut = (promised > left) & (promised < _UNKNOWN)
    with (
        _required(tf.reduce_any(known), f"{COMPRESSED}, or of a width that is not read"),
        _required(sane, f"must have 1 to {MOST_CHANNELS} channels"),
        _required(audible, f"must have {LEAST_RATE:,} to {MOST_RATE:,} samples a second"),
        _required(~cut, "is cut off: its header promises more samples"),
    ):
        block = channels * bits // 8
    count = tf.minimum(promised, left) // block
    long_enough = tf.cast(count, tf.float32) >= LEAST_SECONDS * tf.cast(rate, tf.float32)
    with _required(long_enough, f"lasts less than {LEAST_SECONDS:g} s"):
        count = tf.identity(count)
    if most_seconds is not None:
        most = tf.cast(tf.math.ceil(most_seconds * tf.cast(rate, tf.float32)), tf.int32)
        count = tf.minimum(count, most)
    body = tf.strings.substr(raw, data, count * block)
    kind = tf.argmax(tf.stack(known), output_type=tf.int32)
    values = tf.switch_case(kind, [lambda read=read: read(body) for read in _READERS])
    mono = tf.reduce_mean(tf.reshape(values, tf.stack([count, channels])), axis=1)
    with _required(tf.reduce_all(tf.math.is_finite(mono)), "has samples that are no numbers"):
        return tf.identity(mono), rate


def _chunks(raw: Any, size: Any) -> tuple[Any, Any, Any]:
    """Where the format and the samples begin, and how many bytes of samples are promised; 0 each
    where there is none."""

    def going_on(number: Any, at: Any, fmt: Any, data: Any, promised: Any) -> Any:
        del fmt, promised
        return (at + 8 <= size) & tf.equal(data, 0) & (number < _MOST_CHUNKS)

    def step(number: Any, at: Any, fmt: Any, data: Any, promised: Any) -> tuple[Any, ...]:
        name, long = tf.strings.substr(raw, at, 4), _number(raw, at + 4, 4)
        whole = long <= size - at - 8
        fmt = tf.where(tf.equal(name, "fmt ") & (long >= 16) & whole, at + 8, fmt)
        found = tf.equal(name, "data") & (fmt > 0)
        data, promised = tf.where(found, at + 8, data), tf.where(found, long, promised)
        # Chunks begin at even places.
        further = tf.where(whole, at + 8 + long + long % 2, size)
        return number + 1, further, fmt, data, promised

    zero = tf.constant(0)
    _, _, fmt, data, promised = tf.while_loop(
        going_on, step, [zero, tf.constant(12), zero, zero, zero]
    )
    return fmt, data, promised


def _number(raw: Any, at: Any, count: int) -> Any:
    """Little-endian, int32; what does not fit is the greatest that does."""
    octets = tf.cast(tf.io.decode_raw(tf.strings.substr(raw, at, count), tf.uint8), tf.int64)
    value = tf.reduce_sum(octets * tf.constant([1 << (8 * n) for n in range(count)], tf.int64))
    return tf.cast(tf.minimum(value, 2**31 - 1), tf.int32)


def _of_8(body: Any) -> Any:
    return tf.cast(tf.io.decode_raw(body, tf.uint8), tf.float32) / 128.0 - 1.0


def _of_24(body: Any) -> Any:
    octets = tf.reshape(tf.cast(tf.io.decode_raw(body, tf.uint8), tf.int32), (-1, 3))
    value = octets[:, 0] + 256 * octets[:, 1] + 65536 * octets[:, 2]
    return tf.cast(tf.where(value >= 2**23, value - 2**24, value), tf.float32) / 2.0**23


def _scaled(kind: str, most: float) -> Any:
    return lambda body: tf.cast(tf.io.decode_raw(body, kind), tf.float32) / most


_READERS = (
    _of_8,
    _scaled("int16", 2.0**15),
    _of_24,
    _scaled("int32", 2.0**31),
    _scaled("float32", 1.0),
    _scaled("float64", 1.0),
)


def _required(holds: Any, why: str) -> Any:
    """What is built in this context runs after the check, which is None outside a graph."""
    check = tf.debugging.Assert(holds, [why])
    return tf.control_dependencies([check] if check is not None else [])
