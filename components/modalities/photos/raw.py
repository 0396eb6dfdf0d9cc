"""Photographs: JPEG and PNG bytes in, RGB pixels out.

TensorFlow's decoder is the only one: Pillow differs from it on 16-bit PNG and, by about 1, on
JPEG, and refuses others. A JPEG is turned the way its EXIF orientation says, in training and in
what is served alike.
"""

from __future__ import annotations

import functools
import io
import math
from collections import Counter
from typing import Any, Literal

import numpy as np
from etils import epy
from pydantic import BaseModel, ConfigDict, Field

from components.modalities.photos import orientation
from components.modalities.statistics import spread
from components.section import Section

with epy.lazy_imports():
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from PIL import Image, ImageOps

in_tfds = "image"
plural = "pictures"
column = "path"
is_path = True
suffixes: tuple[str, ...] = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".webp", ".gif"),
    *(".bmp", ".tif", ".tiff", ".avif", ".heic"),
)
may_repeat = False
slices: tuple[str, ...] = ("brightness", "width", "format")
measures = "their size, their format and their colours as a whole"

FORMATS = ("JPEG", "PNG")
# What many phones write: a JPEG with further pictures behind it.
_ALSO_KNOWN_AS = {"MPO": "JPEG"}
# A small file can hold a huge picture: 48 KB of PNG took 2.8 GB to decode.
MAX_PIXELS = 64_000_000
# What is known of other formats, and taken in by `--data.convert`.
_KNOWN = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM"),
    *("TIFF", "WEBP"),
)
# How bright each channel is to the eye (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)
COLOURS = ("red", "green", "blue", "red_varies", "green_varies", "blue_varies")
# From so many pixels on, PNG takes too much room for what is converted.
LARGE = 4_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# The least that a JPEG takes: each block of 64 pixels has its mean, be it one bit.
_PIXELS_A_BYTE = 1024
# Each scan of a JPEG begins so, has at least so many bytes, and goes through all pixels again.
_SCAN, _LEAST_SCAN = b"\xff\xda", 10
_MOST_PASSED = 16 * MAX_PIXELS
# No picture is wider or higher, of one line neither: what is resized becomes as long in between.
_MOST_SIDE = 65_535
# What `photo_views` can do; here, so that a config is checked without TensorFlow.
POLICIES = (
    *("flip", "rotation", "crop", "shift", "colour", "randaugment", "augmix"),
    *("erasing", "gridmask", "fouriermix"),
)
# Those that are meant where none are given.
USUAL = ("flip", "rotation")


class PhotosConfig(Section):
    """Pictures, and what becomes of them before a network reads them."""

    input_size: int | None = Field(None, ge=8, le=2048)
    """Height and width in pixels; the backbone's usual size where not given."""
    resize: Literal["stretch", "crop", "pad"] = "stretch"
    """How a picture of another shape becomes square."""


class Picture(BaseModel):
    """What becomes of a picture before a network reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_size: int
    resize: Literal["stretch", "crop", "pad"]
    family: str = ""
    """Of presets: a row of `models.image_encoders.FAMILIES`."""
    orientation: Literal["upright"] = "upright"
    """A JPEG is turned the way its EXIF orientation says."""
    scale: tuple[float, ...] = ()
    """Of presets: what the network multiplies each channel with, …"""
    offset: tuple[float, ...] = ()
    """… and what it adds then."""


def feature() -> Any:
    """Pictures stored as they came, byte for byte."""
    return tfds.features.Image(shape=(None, None, 3))


def of_tfds(feature: Any, value: bytes) -> bytes:
    """The very bytes."""
    del feature
    return value


def check(raw: bytes) -> dict[str, Any]:
    """What is known of a picture; ValueError with the reason where it cannot be served.

    Whether it can is for the served decoder to say: Pillow knows other files.

    width, height: in pixels, upright.
    exif: its EXIF orientation, where it is a JPEG.
    """
    try:
        pixels, turned = seen(raw)
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:  # It quotes the bytes.
        raise ValueError(_why_not(raw)) from error
    height, width, _ = pixels.shape
    facts = {"width": width, "height": height, "bytes": len(raw)}
    kind = "PNG" if raw.startswith(_PNG) else "JPEG"
    return {**facts, "format": kind, "exif": turned, **_colours(pixels)}


def _why_not(raw: bytes) -> str:
    """Why a picture cannot be served."""
    try:
        with _opened(raw) as picture:
            kind, (width, height) = picture.format or "unknown", picture.size
            deep = _is_deep(picture)
    except Image.DecompressionBombError as error:
        return f"has too many pixels: {error}"
    except Exception:  # Pillow's parsers raise whatever they meet.
        served = raw.startswith((_PNG, _JPEG))
        return "is damaged" if served else "is not an image" if raw else "is empty"
    if width * height > MAX_PIXELS:
        return f"has {width} × {height} pixels; at most {MAX_PIXELS:,} are decoded"
    if max(width, height) > _MOST_SIDE:
        return f"has {width} × {height} pixels; at most {_MOST_SIDE:,} are decoded on a side"
    if kind == "JPEG" and width * height > _PIXELS_A_BYTE * len(raw):
        return f"has {width} × {height} pixels in {len(raw)} bytes, which cannot be"
    if kind == "JPEG" and width * height * raw.count(_SCAN) > _MOST_PASSED:
        return f"has {width} × {height} pixels in {raw.count(_SCAN)} scans, which takes too long"
    if _ALSO_KNOWN_AS.get(kind, kind) in FORMATS:
        return "is damaged: TensorFlow cannot decode it"
    only = f"is a {kind} image; only {' and '.join(FORMATS)} are served"
    if deep:
        return f"{only}, and one of more than 8 bits a channel is not converted"
    return f"{only}: --data.convert"


def seen(raw: bytes) -> tuple[np.ndarray, int]:
    """uint8 (height, width, 3), upright, and the EXIF orientation, by the served decoder."""
    pixels, turned = _reader()(raw)
    return pixels.numpy(), int(turned)


@functools.cache
def _reader() -> Any:
    """`_pixels`, traced once."""
    return tf.function(_pixels, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _colours(pixels: np.ndarray) -> dict[str, int]:
    """Means and deviations of the channels, of 255, and how bright the whole is."""
    some = pixels[:: -(-len(pixels) // 128), :: -(-pixels.shape[1] // 128)].reshape(-1, 3)
    means, deviations = some.mean(axis=0), some.std(axis=0)
    told = zip(COLOURS, [*means, *deviations], strict=True)
    return {
        "brightness": round(float(means @ _LUMA)),
        **{name: round(float(x)) for name, x in told},
    }


def measured(facts: dict[str, Any]) -> list[float]:
    """Size, shape, how well it is compressed, format, and colours."""
    width, height = facts["width"], facts["height"]
    shape = [math.log(width), math.log(height), math.log(width / height)]
    stored = [math.log(facts["bytes"] / (width * height)), float(facts["format"] == "PNG")]
    return [*shape, *stored, *(float(facts[name]) for name in COLOURS)]


def converted(raw: bytes) -> bytes:
    """A picture in another format (WebP, BMP, TIFF, GIF, AVIF …) as PNG, without loss.

    From `LARGE` pixels on as JPEG of quality 100 without chroma subsampling, which differs by at
    most a few of 255 levels and takes a third of the room. Of several frames it is the first one;
    as everywhere, transparency is dropped and the EXIF orientation is applied. What is JPEG or
    PNG already, or cannot be read, stays as it is.
    """
    try:
        with _opened(raw) as picture:
            kind = _ALSO_KNOWN_AS.get(picture.format or "", picture.format)
            width, height = picture.size
            if kind in FORMATS or _is_deep(picture) or width * height > MAX_PIXELS:
                return raw
            buffer = io.BytesIO()
            pixels = ImageOps.exif_transpose(picture).convert("RGB")
            if width * height < LARGE:
                pixels.save(buffer, "PNG")
            else:
                pixels.save(buffer, "JPEG", quality=100, subsampling=0)
    except Exception:  # `check` says what is wrong with it.
        return raw
    return buffer.getvalue()


def _opened(raw: bytes) -> Image.Image:
    """By Pillow, of formats that are nothing but pictures: EPS is a program, which it would run."""
    Image.init()
    return Image.open(io.BytesIO(raw), formats=[name for name in _KNOWN if name in Image.OPEN])


def _is_deep(picture: Image.Image) -> bool:
    """Whether it has more than 8 bits a channel, which do not become 8 by cutting."""
    return picture.mode.startswith(("I", "F"))


def canonical(raw: bytes) -> bytes:
    """The very bytes."""
    return raw


def decode(form: Picture, raw: Any) -> Any:
    """Scalar string tensor of JPEG or PNG bytes → float32 (size, size, 3), RGB in 0 … 255.

    The only decoder: ingest, extract and the served model all use it. Bilinear with antialiasing.
    Fails with InvalidArgumentError on anything else, and on more than `MAX_PIXELS` pixels, before
    it decodes them.
    """
    size = form.input_size
    pixels, _ = _pixels(raw)
    if form.resize == "pad":
        resized = _padded(pixels, size)
    else:
        if form.resize == "crop":
            pixels = _central_square(pixels)
        resized = tf.image.resize(pixels, (size, size), antialias=True)
    return tf.ensure_shape(resized, (size, size, 3))


def summary(facts: dict[str, Counter[Any]]) -> dict[str, Any]:
    """Least, median and greatest size, formats, and how many an EXIF orientation turns."""
    if not facts:
        return {}
    kinds, turns = facts["format"], facts["exif"]
    return {
        "width": spread(facts["width"]),
        "height": spread(facts["height"]),
        "formats": {kind: kinds[kind] for kind in sorted(kinds)},
        "exif_turned": turns.total() - turns[1],
    }


def warnings(facts: dict[str, Any]) -> list[str]:
    """None: what pictures have in common shows in the figures."""
    del facts
    return []


def sample() -> bytes:
    """A grey JPEG of 256 × 256 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (256, 256), (128, 128, 128)).save(buffer, "JPEG")
    return buffer.getvalue()


def _pixels(raw: Any) -> tuple[Any, Any]:
    """Scalar string tensor → uint8 (height, width, 3), upright, and the EXIF orientation."""
    pixels = _stored_pixels(raw)
    turned = tf.cond(_begins(raw, _JPEG), lambda: orientation.of_jpeg(raw), lambda: tf.constant(1))
    return orientation.upright(pixels, turned), turned


def _stored_pixels(raw: Any) -> Any:
    """uint8 (height, width, 3); what the header says is looked at before anything is decoded."""
    is_png, is_jpeg = _begins(raw, _PNG), _begins(raw, _JPEG)
    with _after(tf.debugging.Assert(is_png | is_jpeg, ["neither JPEG nor PNG"])):
        size = tf.cond(is_png, lambda: _png_size(raw), lambda: _jpeg_size(raw))
    count = tf.reduce_prod(size)
    most = tf.cond(
        is_png, lambda: tf.constant(MAX_PIXELS, tf.int64), lambda: _most_pixels(raw, count)
    )
    fits = (count <= most) & (tf.reduce_max(size) <= _MOST_SIDE)
    with _after(tf.debugging.Assert(fits, ["too many pixels"])):
        return tf.cond(
            is_png,
            lambda: tf.io.decode_png(raw, channels=3),
            lambda: tf.io.decode_jpeg(raw, channels=3, dct_method="INTEGER_ACCURATE"),
        )


def _begins(raw: Any, signature: bytes) -> Any:
    return tf.strings.substr(raw, 0, len(signature)) == signature


def _most_pixels(raw: Any, count: Any) -> Any:
    """As many as a JPEG of so many bytes, and of so many scans, can have.

    Behind an end that came too soon all is grey; and each scan goes through all pixels again, for
    some bytes: a file of a megabyte would be decoded for hours.
    """
    octets = tf.cast(tf.strings.length(raw), tf.int64)
    may_be_many = count * (octets // _LEAST_SCAN) > _MOST_PASSED
    scans = tf.cond(may_be_many, lambda: _scans(raw), lambda: tf.constant(1, tf.int64))
    most = tf.minimum(_PIXELS_A_BYTE * octets, _MOST_PASSED // tf.maximum(scans, 1))
    return tf.minimum(most, MAX_PIXELS)


def _scans(raw: Any) -> Any:
    parts = tf.strings.split([raw], _SCAN).values
    return tf.size(parts, tf.int64) - 1


def _after(check: Any) -> Any:
    """What is built in this context runs after `check`, which is None outside a graph."""
    return tf.control_dependencies([check] if check is not None else [])


def _jpeg_size(raw: Any) -> Any:
    return tf.cast(tf.io.extract_jpeg_shape(raw)[:2], tf.int64)


def _png_size(raw: Any) -> Any:
    """Width and height from the header, where PNG has them as big-endian 32-bit numbers."""
    octets = tf.io.decode_raw(tf.strings.substr(raw, 16, 8), tf.uint8)
    places = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    return tf.linalg.matvec(tf.reshape(tf.cast(octets, tf.int64), (2, 4)), places)


def _padded(pixels: Any, size: int) -> Any:
    """As `tf.image.resize_with_pad`, which fails where the shorter side would be no pixel."""
    sides = tf.cast(tf.shape(pixels)[:2], tf.float32)
    exact = sides / tf.reduce_max(sides / size)
    least = tf.maximum(1, tf.cast(tf.floor(exact), tf.int32))
    before = tf.cast(tf.floor((size - exact) / 2), tf.int32)
    after = size - before - least
    resized = tf.image.resize(pixels, least, antialias=True)
    return tf.pad(resized, [[before[0], after[0]], [before[1], after[1]], [0, 0]])


def _central_square(pixels: Any) -> Any:
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]
