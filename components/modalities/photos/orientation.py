"""Which way up a JPEG is, by its EXIF orientation, in a graph: what is served turns it as well.

EXIF 2.32: one of the first segments of the file, `FF E1 SIZE "Exif" 0 0`, then a TIFF whose first
directory has the tag 0x0112. What is damaged there says nothing, and nothing else depends on it.
"""

from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

_TAG, _SHORT, _LONG = 0x0112, 3, 4
_EXIF = b"Exif\0\0"
# FF, the marker, and two bytes of size; then what an EXIF segment begins with.
_HEAD = 4 + len(_EXIF)
# A file of nothing but short segments would be gone through for minutes.
_MOST_SEGMENTS = 256


def upright(pixels: Any, orientation: Any) -> Any:
    """Pixels as they were stored, (height, width, channels) → as they are to be seen."""

    def turned() -> Any:
        across = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
        columns = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
        rows = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
        across = tf.cond(columns, lambda: tf.reverse(across, [1]), lambda: across)
        return tf.cond(rows, lambda: tf.reverse(across, [0]), lambda: across)

    return tf.cond(orientation == 1, lambda: pixels, turned)


def of_jpeg(raw: Any) -> Any:
    """Scalar string tensor of a JPEG's bytes → int32, 1 to 8; 1, upright, where it does not say."""
    length = tf.strings.length(raw)

    def goes_on(at: Any, found: Any, ended: Any) -> Any:
        return ~found & ~ended & (at + _HEAD <= length)

    def step(at: Any, found: Any, ended: Any) -> Any:
        head = _octets(tf.strings.substr(raw, at, _HEAD))
        marker = head[1]
        # Other segments than those of applications, and comments, come after them.
        ends = (head[0] != 0xFF) | ((marker & 0xF0 != 0xE0) & (marker != 0xFE))
        is_exif = (marker == 0xE1) & tf.reduce_all(head[4:] == _octets(tf.constant(_EXIF)))
        after = at + 2 + head[2] * 256 + head[3]
        return tf.where(is_exif, at, after), is_exif & ~ends, ended | ends

    start, no = tf.constant(2), tf.constant(False)
    state = (start, no, no)
    at, found, _ = tf.while_loop(goes_on, step, state, maximum_iterations=_MOST_SEGMENTS)
    return tf.cond(found, lambda: _of_exif(raw, at, length), lambda: tf.constant(1))


def _of_exif(raw: Any, at: Any, length: Any) -> Any:
    """What the segment at `at` says."""
    size = tf.cast(_octets(tf.strings.substr(raw, at + 2, 2)), tf.int32)
    held = tf.minimum(size[0] * 256 + size[1] - _HEAD + 2, length - at - _HEAD)
    tiff = _octets(tf.strings.substr(raw, at + _HEAD, tf.maximum(held, 0)))
    # So that what is read behind its end is 0.
    tiff = tf.concat([tf.cast(tiff, tf.int64), tf.zeros(1, tf.int64)], 0)
    end = tf.size(tiff, tf.int64) - 1
    little = tiff[0] == ord("I")

    def number(at: Any, octets: int) -> Any:
        """The whole number at each place."""
        places = tf.minimum(at[..., None] + tf.range(octets, dtype=tf.int64), end)
        shifts = tf.range(octets, dtype=tf.int64)
        weights = 256 ** tf.where(little, shifts, octets - 1 - shifts)
        return tf.reduce_sum(tf.gather(tiff, places) * weights, -1)

    directory = tf.minimum(number(tf.constant(4, tf.int64), 4), end)
    count = tf.minimum(number(directory, 2), (end - directory) // 12)
    entries = directory + 2 + 12 * tf.range(count)
    ours = tf.boolean_mask(entries, number(entries, 2) == _TAG)
    ours = tf.concat([ours, [end]], 0)[:1]
    kind = number(ours + 2, 2)
    value = tf.where(kind == _SHORT, number(ours + 8, 2), number(ours + 8, 4))
    known = ((kind == _SHORT) | (kind == _LONG)) & (value >= 1) & (value <= 8)
    return tf.cast(tf.where(known, value, 1)[0], tf.int32)


def _octets(raw: Any) -> Any:
    return tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.int32)
