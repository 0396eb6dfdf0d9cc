"""Samples at another rate, in TensorFlow's graph: the same in training and in serving.

Band-limited interpolation (Smith 1984, Digital Audio Resampling): each new sample is a sum over a
sinc under a Kaiser window. Where the rates have a common divisor, the places between two samples
repeat, and few such windows are computed; else each has its own.
"""

from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

# Zero crossings of the sinc to each side, where it is cut off as a share of the lower rate's half,
# and Kaiser's beta: what is above is 80 dB down.
_CROSSINGS, _ROLLOFF, _BETA = 64, 0.95, 9.0
# So many new samples are computed at once.
_BLOCK = 4096


def resampled(signal: Any, rate: Any, wanted: int) -> Any:
    """(samples,) float32 at `rate`, an int32 scalar → the same at `wanted` a second."""
    return tf.cond(
        tf.equal(rate, wanted),
        lambda: tf.identity(signal),
        lambda: _resampled(signal, rate, wanted),
    )


def _resampled(signal: Any, rate: Any, wanted: int) -> Any:
    rate = tf.cast(rate, tf.int64)
    common = _divisor(rate, tf.constant(wanted, tf.int64))
    up, down = wanted // common, rate // common
    length = tf.cast(tf.size(signal), tf.int64)
    count = -(-length * up // down)
    # In units of the old samples: the sinc is wider where the new rate is the lower one.
    cutoff = _ROLLOFF * tf.minimum(1.0, tf.cast(wanted / rate, tf.float32))
    reach = tf.cast(tf.math.ceil(_CROSSINGS / cutoff), tf.int64)
    around = tf.range(-reach, reach + 1)
    few = up <= _BLOCK
    phases = tf.minimum(tf.where(few, up, 1), count)

    def windows_of(places: Any) -> Any:
        shares = tf.cast(places, tf.float32) / tf.cast(up, tf.float32)
        reaching = tf.cast(reach, tf.float32)
        return _windows(shares, tf.cast(around, tf.float32), cutoff, reaching)

    windows = windows_of(tf.range(phases) * down % up)
    padded = tf.pad(signal, [[reach, reach + 1]])

    def block(start: Any) -> Any:
        numbers = tf.minimum(start + tf.range(_BLOCK, dtype=tf.int64), count - 1)
        at = (numbers * down // up)[:, tf.newaxis] + around + reach
        own = tf.cond(
            few,
            lambda: tf.gather(windows, numbers % up),
            lambda: windows_of(numbers * down % up),
        )
        return tf.reduce_sum(tf.gather(padded, at) * own, axis=1)

    starts = tf.range(0, count, _BLOCK, dtype=tf.int64)
    found = tf.map_fn(block, starts, fn_output_signature=tf.TensorSpec((_BLOCK,), tf.float32))
    return tf.reshape(found, [-1])[:count]


def _windows(places: Any, around: Any, cutoff: Any, reach: Any) -> Any:
    """(places, around): what each old sample counts for a new one at a place after sample 0."""
    apart = around - places[:, tf.newaxis]
    arched = tf.sqrt(tf.maximum(1.0 - tf.square(apart / (reach + 1.0)), 0.0))
    kaiser = tf.math.bessel_i0(_BETA * arched) / tf.math.bessel_i0(_BETA)
    angle = 3.141592653589793 * cutoff * apart
    sinc = tf.where(tf.abs(angle) < 1e-6, tf.ones_like(angle), tf.sin(angle) / angle)
    weights = cutoff * sinc * kaiser
    # What does not change stays exactly as loud.
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _divisor(a: Any, b: Any) -> Any:
    """The greatest common one (Euclid)."""
    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), [a, b])[0]
