"""Changed views of sounds, in the graph that reads them.

A policy is a row of `POLICIES`. A view's randomness is drawn from (seed, example id, view) alone,
so that a view can be computed again tomorrow, on another machine and in another order, and be the
same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from components.modalities.sounds.form import Sound

# In dB; how loud noise is below a sound; shares of the length; and semitones.
_GAIN, _SNR, _SHIFT, _MASK, _STRETCH, _PITCH = 6.0, (10.0, 30.0), 0.1, 0.12, 0.2, 2.0
# Of the transforms that stretch.
_FRAME, _STEP = 512, 128


def augmenter(form: Sound, policies: tuple[str, ...], seed: int) -> Callable[[Any, Any, Any], Any]:
    """A function for a `tf.data` graph: (samples, id, view) → the samples of that view.

    Samples are float32 (samples,), id a string and view an integer tensor; view 0 is the example.
    """

    def augmented(samples: Any, identity: Any, view: Any) -> Any:
        name = tf.strings.join([str(seed), identity, tf.strings.as_string(view)], "/")
        own = tf.stack([tf.strings.to_hash_bucket_fast(name, 2**31 - 1), 0])
        for number, policy in enumerate(policies):
            draw = tf.random.experimental.stateless_fold_in(own, number)
            samples = tf.ensure_shape(POLICIES[policy](samples, draw), (form.samples,))
        return samples

    def apply(samples: Any, identity: Any, view: Any) -> Any:
        return tf.cond(view > 0, lambda: augmented(samples, identity, view), lambda: samples)

    return apply


def _uniform(seed: Any, low: float, high: float) -> Any:
    return tf.random.stateless_uniform((), seed, low, high)


def _gain(samples: Any, seed: Any) -> Any:
    """Louder or less loud."""
    return samples * tf.pow(10.0, _uniform(seed, -_GAIN, _GAIN) / 20.0)


def _shift(samples: Any, seed: Any) -> Any:
    """Earlier or later; silence comes in."""
    size = tf.size(samples)
    by = tf.cast(_uniform(seed, -_SHIFT, _SHIFT) * tf.cast(size, tf.float32), tf.int32)
    padded = tf.pad(samples, [[tf.maximum(by, 0), tf.maximum(-by, 0)]])
    start = tf.maximum(-by, 0)
    return padded[start : start + size]


def _noise(samples: Any, seed: Any) -> Any:
    """White noise, so many dB below the sound."""
    power = tf.reduce_mean(tf.square(samples))
    level = tf.sqrt(power * tf.pow(10.0, -_uniform(seed, *_SNR) / 10.0))
    return samples + level * tf.random.stateless_normal(tf.shape(samples), seed)


def _masks(samples: Any, seed: Any) -> Any:
    """A span of time and a band of frequencies are taken out.

    As SpecAugment (Park et al. 2019, arXiv:1904.08779) does with a spectrogram; this is of samples,
    whatever spectrogram a network makes of them.
    """
    size = tf.size(samples)
    spectrum = tf.signal.rfft(samples)
    heard = _outside(tf.size(spectrum), tf.random.experimental.stateless_fold_in(seed, 1))
    samples = tf.signal.irfft(spectrum * tf.cast(heard, tf.complex64), [size])
    return samples * _outside(size, tf.random.experimental.stateless_fold_in(seed, 2))


def _outside(size: Any, seed: Any) -> Any:
    """(size,): 0 within a span, 1 around it."""
    long = _uniform(seed, 0.0, _MASK)
    start = _uniform(tf.random.experimental.stateless_fold_in(seed, 0), 0.0, 1.0) * (1.0 - long)
    at = tf.cast(tf.range(size), tf.float32) / tf.cast(size, tf.float32)
    return tf.cast((at < start) | (at >= start + long), tf.float32)


def _stretch(samples: Any, seed: Any) -> Any:
    """Faster or slower, as high as before."""
    speed = tf.exp(_uniform(seed, -_STRETCH, _STRETCH))
    return _to_size(_vocoded(samples, speed), tf.size(samples))


def _pitch(samples: Any, seed: Any) -> Any:
    """Higher or lower, as fast as before: stretched, and played faster or slower."""
    higher = tf.pow(2.0, _uniform(seed, -_PITCH, _PITCH) / 12.0)
    stretched = _vocoded(samples, 1.0 / higher)
    size = tf.size(samples)
    at = tf.cast(tf.range(size), tf.float32) * higher
    before = tf.minimum(tf.cast(at, tf.int32), tf.size(stretched) - 2)
    share = at - tf.cast(before, tf.float32)
    inside = tf.cast(share <= 1.0, tf.float32)
    between = (1.0 - share) * tf.gather(stretched, before)
    return inside * (between + share * tf.gather(stretched, before + 1))


def _to_size(samples: Any, size: Any) -> Any:
    return tf.pad(samples[:size], [[0, tf.maximum(size - tf.size(samples), 0)]])


def _vocoded(samples: Any, speed: Any) -> Any:
    """`speed` times as fast: a phase vocoder (Flanagan & Golden 1966; Dolson 1986)."""
    padded = tf.pad(samples, [[_FRAME, _FRAME]])
    frames = tf.signal.stft(padded, _FRAME, _STEP)
    count = tf.shape(frames)[0]
    at = tf.range(0.0, tf.cast(count - 1, tf.float32), speed)
    before = tf.minimum(tf.cast(at, tf.int32), count - 2)
    share = (at - tf.cast(before, tf.float32))[:, tf.newaxis]
    one, other = tf.gather(frames, before), tf.gather(frames, before + 1)
    loud = (1.0 - share) * tf.abs(one) + share * tf.abs(other)
    turning = 2 * math.pi * _STEP / _FRAME * tf.range(_FRAME // 2 + 1, dtype=tf.float32)
    turned = tf.math.angle(other) - tf.math.angle(one) - turning
    turned = turned - 2 * math.pi * tf.round(turned / (2 * math.pi)) + turning
    phase = tf.math.angle(frames[0]) + tf.cumsum(turned, exclusive=True)
    changed = tf.complex(loud * tf.cos(phase), loud * tf.sin(phase))
    back = tf.signal.inverse_stft(
        changed, _FRAME, _STEP, window_fn=tf.signal.inverse_stft_window_fn(_STEP)
    )
    skipped = tf.cast(_FRAME / speed, tf.int32)
    return back[skipped:]


POLICIES: dict[str, Callable[[Any, Any], Any]] = {
    "gain": _gain,
    "shift": _shift,
    "noise": _noise,
    "stretch": _stretch,
    "pitch": _pitch,
    "masks": _masks,
}
