"""Pictures: what is usable, and that decoding is the same everywhere."""

from __future__ import annotations

import base64
import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from components.modalities.photos import orientation as orientations
from components.modalities.photos import raw as photos
from components.modalities.photos import shown
from tests.chaos import corpus
from tests.conftest import picture

STRETCHED = photos.Picture(input_size=16, resize="stretch")


def encoded(mode: str, kind: str, size: tuple[int, int] = (20, 12)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 90).save(buffer, kind)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def lying_jpeg() -> bytes:
    """A small JPEG whose header says 8,000 × 7,900 pixels; the decoder would fill them up."""
    raw = bytearray(encoded("RGB", "JPEG", (40, 32)))
    start = raw.index(b"\xff\xc0") + 5
    raw[start : start + 4] = struct.pack(">HH", 7900, 8000)
    return bytes(raw)


def huge_png() -> bytes:
    """A few bytes that claim to be 20,000 × 20,000 pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"words", "is not an image"),
        (encoded("L", "GIF"), "is a GIF image; only JPEG and PNG are served: --data.convert"),
        (encoded("RGB", "BMP"), "is a BMP image"),
        (encoded("RGB", "WEBP"), "is a WEBP image"),
        (picture(0, 0, size=64, kind="JPEG")[:-900], "is damaged"),
        (picture(0, 0, size=64)[:4000], "is damaged"),
        (huge_png(), "pixels"),
        (lying_jpeg(), "has 8000 × 7900 pixels in \\d+ bytes"),
    ],
    ids=["empty", "text", "gif", "bmp", "webp", "cut jpeg", "cut png", "huge", "lying"],
)
def test_unusable_pictures_have_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        photos.check(raw)
    with pytest.raises(tf.errors.InvalidArgumentError):
        photos.decode(STRETCHED, tf.constant(raw))


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16", "1"])
def test_every_kind_of_png_becomes_rgb(mode: str) -> None:
    raw = encoded(mode, "PNG")
    assert photos.check(raw)["width"] == 20
    assert photos.decode(STRETCHED, tf.constant(raw)).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_other_formats_are_converted_without_loss(kind: str) -> None:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture(0, 0))) as noisy:
        noisy.save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    raw = buffer.getvalue()
    converted = photos.converted(raw)
    assert photos.check(converted)["format"] == "PNG"
    with Image.open(io.BytesIO(raw)) as before, Image.open(io.BytesIO(converted)) as after:
        np.testing.assert_array_equal(np.asarray(before.convert("RGB")), np.asarray(after))


def test_large_ones_become_jpeg_of_quality_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "LARGE", 100)
    raw = encoded("RGB", "BMP")
    converted = photos.converted(raw)
    assert photos.check(converted)["format"] == "JPEG"
    with Image.open(io.BytesIO(raw)) as before, Image.open(io.BytesIO(converted)) as after:
        apart = np.abs(np.asarray(before).astype(int) - np.asarray(after).astype(int))
    assert apart.max() <= 4


@pytest.mark.parametrize("raw", [b"", b"words", picture(0, 0), encoded("I;16", "TIFF")])
def test_what_cannot_be_converted_stays_as_it_is(raw: bytes) -> None:
    """What is served already, what is no picture, and what 8 bits cannot hold."""
    assert photos.converted(raw) == raw


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_becomes_rgb(mode: str) -> None:
    raw = encoded(mode, "JPEG")
    assert photos.check(raw)["height"] == 12
    assert photos.decode(STRETCHED, tf.constant(raw)).shape == (16, 16, 3)


def test_what_phones_write_is_usable() -> None:
    """A JPEG with further pictures in it, which Pillow calls MPO."""
    buffer = io.BytesIO()
    image = Image.new("RGB", (20, 12), (9, 9, 200))
    image.save(buffer, "MPO", save_all=True, append_images=[image])
    assert photos.check(buffer.getvalue())["format"] == "JPEG"
    assert photos.decode(STRETCHED, tf.constant(buffer.getvalue())).shape == (16, 16, 3)


def turned_jpeg(orientation: object, *, endian: str = "<") -> bytes:
    """Blocks of colours, with an EXIF orientation."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 5, 3))
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x0112] = "a maker", orientation
    buffer = io.BytesIO()
    blocks = np.kron(pixels, np.ones((16, 16, 1))).astype(np.uint8)
    Image.fromarray(blocks).save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("endian", "<>")
def test_a_jpeg_is_turned_as_its_exif_says(orientation: int, endian: str) -> None:
    """As Pillow does it; where it is checked and where it is served."""
    raw = turned_jpeg(orientation, endian=endian)
    with Image.open(io.BytesIO(raw)) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    pixels, told = photos.seen(raw)
    assert told == orientation
    np.testing.assert_array_equal(pixels, expected)
    facts = photos.check(raw)
    assert (facts["height"], facts["width"], facts["exif"]) == (*expected.shape[:2], orientation)
    served = photos.decode(photos.Picture(input_size=16, resize="stretch"), tf.constant(raw))
    wanted = tf.image.resize(expected, (16, 16), antialias=True)
    np.testing.assert_allclose(served, wanted, atol=1e-3)


def test_what_is_converted_is_turned_for_good() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (20, 12)).save(buffer, "WEBP", exif=exif)
    facts = photos.check(photos.converted(buffer.getvalue()))
    assert (facts["width"], facts["height"], facts["exif"]) == (12, 20, 1)


def test_damaged_exif_is_ignored() -> None:
    rng = np.random.default_rng(0)
    raw = turned_jpeg(6)
    for _ in range(300):
        damaged = bytearray(raw[: int(rng.integers(60, len(raw)))])
        for place in rng.integers(2, 60, 2):
            damaged[place] = rng.integers(256)
        told = orientations.of_jpeg(tf.constant(bytes(damaged)))
        assert 1 <= int(told) <= 8
    assert photos.check(turned_jpeg(9))["exif"] == 1
    endless = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000
    assert int(orientations.of_jpeg(tf.constant(endless))) == 1
    png = encoded("RGB", "PNG")
    assert photos.check(png[:33] + chunk(b"eXIf", b"nonsense") + png[33:])["exif"] == 1


def test_one_verdict_for_one_file() -> None:
    """A text that unpacks to 64 MB, which Pillow refuses and the decoder passes over."""
    png = encoded("RGB", "PNG")
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20)))
    raw = png[:33] + bomb + png[33:]
    assert photos.check(raw)["width"] == 20
    assert photos.decode(STRETCHED, tf.constant(raw)).shape == (16, 16, 3)
    assert photos.converted(raw) == raw
    assert shown.show(raw, None).startswith("<img")


def test_resizing_keeps_what_it_says() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    raw = tf.constant(buffer.getvalue())
    crop = photos.decode(photos.Picture(input_size=10, resize="crop"), raw).numpy()
    np.testing.assert_allclose(crop, 200)
    pad = photos.decode(photos.Picture(input_size=30, resize="pad"), raw).numpy()
    assert pad[0].max() == 0
    assert pad[15, 15, 0] == 200
    noise = np.random.default_rng(0).integers(0, 255, (23, 37, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    np.testing.assert_array_equal(
        photos.decode(photos.Picture(input_size=16, resize="pad"), buffer.getvalue()),
        tf.image.resize_with_pad(noise, 16, 16, antialias=True),
    )
    stretch = photos.decode(photos.Picture(input_size=30, resize="stretch"), raw).numpy()
    assert stretch[:, 15].min() == 200
    assert stretch[:, 2].max() == 0


def test_a_graph_decodes_to_the_same_numbers() -> None:
    raw = tf.constant(picture(1, 3, size=33, kind="JPEG"))
    eager = photos.decode(STRETCHED, raw).numpy()
    graph = tf.function(lambda one: photos.decode(STRETCHED, one))(raw).numpy()
    np.testing.assert_array_equal(eager, graph)


def test_the_part_that_counted_is_red() -> None:
    """A model that looks at the top left alone."""
    pixels = np.full((210, 210, 3), 200, np.uint8)
    pixels[:60, :60] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")

    def ask(raws: list[bytes]) -> np.ndarray:
        seen = [np.asarray(Image.open(io.BytesIO(raw)).convert("L"))[:60, :60] for raw in raws]
        return np.array([1.0 - corner.mean() / 255 for corner in seen])

    both = re.findall(r"base64,([^\"]+)", shown.show(file.getvalue(), ask))
    plain, red = (np.asarray(Image.open(io.BytesIO(base64.b64decode(each))), int) for each in both)
    reddened = (red - plain)[..., 0] - (red - plain)[..., 1]
    assert reddened[10:35, 10:35].mean() > 50
    assert abs(reddened[80:, 80:].mean()) < 5


def test_thumbnail_and_sample_are_pictures() -> None:
    seen = shown.show(picture(0, 1), None)
    assert seen.startswith('<img alt="" src="data:image/jpeg;base64,')
    assert photos.check(photos.sample())["format"] == "JPEG"


def test_no_program_is_run_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gives PostScript, which is one, to Ghostscript."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\necho run >> {tmp_path}/ran\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    assert photos.converted(postscript) == postscript
    with pytest.raises(ValueError, match="is not an image"):
        photos.check(postscript)
    assert not (tmp_path / "ran").exists()


def test_scans_are_counted_where_they_may_be_many() -> None:
    """Each goes through all pixels again, for some bytes."""
    with pytest.raises(ValueError, match=r"2048 × 2048 pixels in 30. scans, which takes too long"):
        photos.check(corpus.many_scans(2048, 300))
    assert photos.check(corpus.many_scans(2048, 50))["width"] == 2048
    with pytest.raises(ValueError, match="at most 65,535 are decoded on a side"):
        photos.check(corpus.image("PNG", "L", size=(70_000, 1)))
