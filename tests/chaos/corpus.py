"""What folders and tables have in them that nobody meant: a file for each kind, from bytes.

Each is written by a function: where → what is said of it. A code of `components.examples.reasons`
where it is set aside, `used` where it can be served as it is, `ignored` where it is no example.
"""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import wave
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, PngImagePlugin

USED, IGNORED = "used", "ignored"
Make = Callable[[Path], object]
# name → (what is said, how it is made)
Kinds = dict[str, tuple[str, Make]]


def raw(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def image(kind: str, mode: str = "RGB", size: tuple[int, int] = (20, 12), **how: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)
    made = Image.fromarray(noise)
    made = made.convert("L").point(lambda x: x * 200).convert(mode) if mode[0] == "I" else made
    buffer = io.BytesIO()
    made.convert(mode).save(buffer, kind, **how)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_of(width: int, height: int, bits: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    """The header of one size, and the body of another."""
    made = bytearray(image("JPEG", size=(40, 32)))
    start = made.index(b"\xff\xc0") + 5
    made[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(made)


def many_scans(side: int, times: int) -> bytes:
    """A progressive JPEG whose last scan, which changes nothing, comes again and again."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True)
    made = buffer.getvalue()
    last = made[made.rindex(b"\xff\xda") : -2]
    padded = made[:-2] + last * times + b"\xff\xd9"
    return padded + bytes(max(0, side * side // 1024 + 1 - len(padded)))


def with_text(keyword: bytes, data: bytes) -> bytes:
    png = image("PNG")
    return png[:33] + png_chunk(keyword, data) + png[33:]


def with_icc() -> bytes:
    return image("JPEG", icc_profile=b"nonsense" * 100)


def exif(orientation: int, kind: str = "JPEG") -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return image(kind, exif=tags)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (20, 12), (n, 9, 9)) for n in (0, 99)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def text_in_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<script>alert(1)</script>")
    return image("PNG", pnginfo=info)


def sparse(size: int) -> Make:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    """Its name may be longer than one of a socket's may be."""
    with socket.socket(socket.AF_UNIX) as made:
        folder = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


def link(to: str) -> Make:
    return lambda path: path.symlink_to(to)


def folder_loop(path: Path) -> None:
    path.symlink_to(path.parent)


def unreadable_folder(path: Path) -> None:
    path.mkdir()


_GOOD, _GOOD_PNG = image("JPEG"), image("PNG")
PICTURES: Kinds = {
    "jpeg.jpg": (USED, raw(_GOOD)),
    "png.png": (USED, raw(_GOOD_PNG)),
    "jpeg named.png": (USED, raw(image("JPEG", quality=50))),
    "png named.jpg": (USED, raw(image("PNG", optimize=True))),
    "no suffix": (USED, raw(image("JPEG", quality=51))),
    "progressive.jpg": (USED, raw(image("JPEG", progressive=True))),
    "grey.jpg": (USED, raw(image("JPEG", "L"))),
    "cmyk.jpg": (USED, raw(image("JPEG", "CMYK"))),
    "palette.png": (USED, raw(image("PNG", "P"))),
    "one bit.png": (USED, raw(image("PNG", "1"))),
    "sixteen bits.png": (USED, raw(image("PNG", "I;16"))),
    "grey and alpha.png": (USED, raw(image("PNG", "LA"))),
    "alpha.png": (USED, raw(image("PNG", "RGBA"))),
    "one pixel.png": (USED, raw(image("PNG", size=(1, 1)))),
    "a line.png": (USED, raw(image("PNG", size=(4000, 1)))),
    "exif six.jpg": (USED, raw(exif(6))),
    "exif nine.jpg": (USED, raw(exif(9))),
    "exif in png.png": (USED, raw(exif(6, "PNG"))),
    "icc nonsense.jpg": (USED, raw(with_icc())),
    "script in it.png": (USED, raw(text_in_png())),
    "trailing bytes.jpg": (USED, raw(image("JPEG", quality=52) + b"PK\x03\x04" + bytes(99))),
    "text bomb.png": (USED, raw(with_text(b"zTXt", b"C\0\0" + zlib.compress(bytes(1 << 26))))),
    "icc bomb.png": (USED, raw(with_text(b"iCCP", b"C\0\0" + zlib.compress(bytes(1 << 24))))),
    "many chunks.png": (USED, raw(with_text(b"tEXt", b"a\0b"))),
    "animated.png": (USED, raw(animated("PNG"))),
    "mpo.jpg": (USED, raw(animated("MPO"))),
    "empty.jpg": ("empty", raw(b"")),
    "one byte.jpg": ("not_an_image", raw(b"\xff")),
    "text.jpg": ("not_an_image", raw(b"not found")),
    "html.jpg": ("not_an_image", raw(b"<!DOCTYPE html><title>404</title>")),
    "lfs pointer.jpg": ("not_an_image", raw(b"version https://git-lfs.github.com/spec/v1\n")),
    "zeros.jpg": ("not_an_image", raw(bytes(5000))),
    "noise.jpg": ("not_an_image", raw(random.Random(0).randbytes(5000))),
    "pdf.jpg": ("not_an_image", raw(b"%PDF-1.4\n" + bytes(99))),
    "svg.jpg": ("not_an_image", raw(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
    "elf.png": ("not_an_image", raw(b"\x7fELF" + bytes(99))),
    "zip.png": ("not_an_image", raw(b"PK\x03\x04" + bytes(99))),
    "gif.gif": ("other_format", raw(image("GIF", "P"))),
    "animated.gif": ("other_format", raw(animated("GIF"))),
    "gif named.jpg": ("other_format", raw(image("GIF", "L"))),
    "webp.webp": ("other_format", raw(image("WEBP"))),
    "bmp.bmp": ("other_format", raw(image("BMP"))),
    "tiff.tiff": ("other_format", raw(image("TIFF"))),
    "avif.avif": ("other_format", raw(image("AVIF"))),
    "ppm.ppm": ("other_format", raw(image("PPM"))),
    "icon.ico": ("other_format", raw(image("ICO", size=(32, 32)))),
    "jpeg 2000.jp2": ("other_format", raw(image("JPEG2000"))),
    "huge header.png": ("too_large", raw(png_of(20_000, 20_000))),
    "huge bomb.png": ("too_large", raw(png_of(30_000, 30_000, 1, 0, bytes(3750 * 30_000)))),
    "huger than can be.png": ("too_large", raw(png_of(2**31 - 1, 2**31 - 1))),
    "huge jpeg.jpg": ("too_large", raw(jpeg_of(65_500, 65_500))),
    "lying jpeg.jpg": ("too_large", raw(jpeg_of(8000, 7900))),
    "many scans.jpg": ("too_large", raw(many_scans(2048, 300))),
    "some scans.jpg": (USED, raw(many_scans(256, 20))),
    "too long.png": ("too_large", raw(image("PNG", "L", size=(1_000_000, 1)))),
    "program.eps": (
        "not_an_image",
        raw(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ),
    "no pixels.png": ("damaged", raw(png_of(0, 0))),
    "no data.png": ("damaged", raw(png_of(20, 12))),
    "wrong sum.png": ("damaged", raw(_GOOD_PNG[:60] + b"\0" + _GOOD_PNG[61:])),
    "cut.png": ("damaged", raw(_GOOD_PNG[: len(_GOOD_PNG) // 2])),
    "cut.jpg": ("damaged", raw(_GOOD[: len(_GOOD) // 2])),
    "header alone.jpg": ("damaged", raw(_GOOD[:4])),
    "header alone.png": ("damaged", raw(_GOOD_PNG[:8])),
    "no header.jpg": ("damaged", raw(b"\xff\xd8\xff" + bytes(200))),
    "a terabyte.jpg": ("not_readable", sparse(1 << 40)),
    "pipe.jpg": ("not_regular", pipe),
    "socket.jpg": ("not_regular", a_socket),
    "device.jpg": ("outside", link("/dev/zero")),
    "password.jpg": ("outside", link("/etc/passwd")),
    "never fetched.jpg": ("broken_link", link(".git/annex/objects/none")),
    "circle.jpg": ("broken_link", link("circle.jpg")),
    "folder loop": ("link_loop", folder_loop),
    "link beside.jpg": (USED, link("jpeg.jpg")),
    "caf\udce9.jpg": (USED, raw(image("JPEG", quality=60))),
    "line\nbreak.jpg": (USED, raw(image("JPEG", quality=61))),
    "\x1b[31mred.jpg": (USED, raw(image("JPEG", quality=62))),
    "<b>bold.jpg": (USED, raw(image("JPEG", quality=63))),
    "-rf.jpg": (USED, raw(image("JPEG", quality=64))),
    "[bracket].jpg": (USED, raw(image("JPEG", quality=65))),
    f"{'long' * 60}.jpg": (USED, raw(image("JPEG", quality=66))),
    ".hidden.jpg": (IGNORED, raw(_GOOD)),
    "._apple.jpg": (IGNORED, raw(b"\0\5\x16\7")),
    ".DS_Store": (IGNORED, raw(b"\0\0\0\1Bud1")),
    "Thumbs.db": (IGNORED, raw(b"\xd0\xcf\x11\xe0")),
    "desktop.ini": (IGNORED, raw(b"[.ShellClassInfo]")),
}

# In folders of their own.
HIDDEN_FOLDERS = (".ipynb_checkpoints", "__MACOSX", ".git", ".dvc")


def sound(seconds: float = 0.3, rate: int = 16_000, tone: float = 440.0) -> np.ndarray:
    when = np.arange(int(seconds * rate)) / rate
    return 0.4 * np.sin(2 * np.pi * tone * when)


def encoded(kind: str, subtype: str | None = None, rate: int = 16_000, **how: object) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(rate=rate), rate, format=kind, subtype=subtype, **how)
    return buffer.getvalue()


def wav(channels: int = 1, rate: int = 16_000, frames: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = (sound(rate=16_000) * 32767).astype("<i2")
        file.writeframes(np.repeat(samples, channels).tobytes() if frames is None else frames)
    return buffer.getvalue()


def patched_wav(at: int, value: bytes) -> bytes:
    made = bytearray(wav())
    made[at : at + len(value)] = value
    return bytes(made)


def nan_wav() -> bytes:
    buffer = io.BytesIO()
    samples = sound()
    samples[10] = np.nan
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def many_chunks() -> bytes:
    head, body = wav()[:12], wav()[12:]
    return head + b"junk\0\0\0\0" * 100_000 + body


SOUNDS: Kinds = {
    "plain.wav": (USED, raw(wav())),
    "eight bits.wav": (USED, raw(encoded("WAV", "PCM_U8"))),
    "24 bits.wav": (USED, raw(encoded("WAV", "PCM_24"))),
    "32 bits.wav": (USED, raw(encoded("WAV", "PCM_32"))),
    "float.wav": (USED, raw(encoded("WAV", "FLOAT"))),
    "double.wav": (USED, raw(encoded("WAV", "DOUBLE"))),
    "extensible.wav": (USED, raw(encoded("WAVEX", "PCM_16"))),
    "stereo.wav": (USED, raw(wav(2))),
    "48 kHz.wav": (USED, raw(encoded("WAV", "PCM_16", 48_000))),
    "empty.wav": ("empty", raw(b"")),
    "text.wav": ("not_a_sound", raw(b"not found" * 10)),
    "zeros.wav": ("not_a_sound", raw(bytes(5000))),
    "short.wav": ("not_a_sound", raw(wav()[:20])),
    "flac.flac": ("other_format", raw(encoded("FLAC"))),
    "ogg.ogg": ("other_format", raw(encoded("OGG"))),
    "mp3.mp3": ("other_format", raw(encoded("MP3"))),
    "aiff.aiff": ("other_format", raw(encoded("AIFF"))),
    "mu-law.wav": ("other_format", raw(encoded("WAV", "ULAW"))),
    "adpcm.wav": ("other_format", raw(encoded("WAV", "IMA_ADPCM"))),
    "no channels.wav": ("other_format", raw(patched_wav(22, b"\0\0"))),
    "65,535 channels.wav": ("other_format", raw(patched_wav(22, b"\xff\xff"))),
    "no rate.wav": ("other_format", raw(patched_wav(24, bytes(4)))),
    "4 GHz.wav": ("other_format", raw(patched_wav(24, b"\xff\xff\xff\xff"))),
    "cut.wav": ("damaged", raw(wav()[:2000])),
    "no samples.wav": ("damaged", raw(wav(frames=b""))),
    "a moment.wav": ("damaged", raw(wav(frames=bytes(40)))),
    "no numbers.wav": ("damaged", raw(nan_wav())),
    "many chunks.wav": ("damaged", raw(many_chunks())),
    "a terabyte.wav": ("not_readable", sparse(1 << 40)),
    "pipe.wav": ("not_regular", pipe),
}


# Lines of a table of texts, as JSON Lines: what is said of the row.
LINES: dict[str, tuple[str, bytes]] = {
    "plain": (USED, b'{"text": "a fine film", "label": "good"}'),
    "spaces around": (USED, b'  {"text": "another fine film", "label": "good"}  '),
    "escapes": (USED, b'{"text": "a \\u0066ine \\ud83d\\ude00", "label": "good"}'),
    "markup": (USED, b'{"text": "<script>alert(1)</script> fine", "label": "good"}'),
    "formula": (USED, b'{"text": "=cmd|calc!A1 fine", "label": "good"}'),
    "control characters": (USED, b'{"text": "a \\u001b[31m fine \\u0000 one", "label": "good"}'),
    "right to left": (USED, b'{"text": "fine \\u202e enif", "label": "good"}'),
    "joined marks": (USED, ('{"text": "fi' + "\u0301" * 5000 + 'ne", "label": "good"}').encode()),
    "a long word": (USED, b'{"text": "' + b"fine" * 20_000 + b'", "label": "good"}'),
    "a number": (USED, b'{"text": 17.5, "label": "good"}'),
    "more columns": (USED, b'{"text": "fine, too", "label": "good", "more": [1, {"a": 2}]}'),
    "twice": (USED, b'{"text": "no", "text": "the last counts, fine", "label": "good"}'),
    "list for a text": (USED, b'{"text": ["a", "fine"], "label": "good"}'),
    "empty": ("empty", b'{"text": "", "label": "good"}'),
    "blank": ("empty", b'{"text": " \\t\\u00a0 ", "label": "good"}'),
    "control alone": ("empty", b'{"text": "\\u0000\\u0001", "label": "good"}'),
    "a million and one": ("too_large", b'{"text": "' + b"a " * 500_001 + b'", "label": "good"}'),
    "half a character": ("not_utf8", b'{"text": "fine \\ud800", "label": "good"}'),
    "latin-1": ("not_utf8", b'{"text": "caf\xe9 fine", "label": "good"}'),
    "overlong": ("not_utf8", b'{"text": "fine \xc0\xaf", "label": "good"}'),
    "cut": ("not_json", b'{"text": "fine", "lab'),
    "single quotes": ("not_json", b"{'text': 'fine', 'label': 'good'}"),
    "csv": ("not_json", b"fine,good"),
    "nested": ("not_json", b"[" * 100_000),
    "nested objects": ("not_json", b'{"a":' * 100_000),
    "a long number": ("not_json", b'{"text": ' + b"9" * 5001 + b', "label": "good"}'),
    "two on a line": ("not_json", b'{"text": "a", "label": "good"} {"text": "b"}'),
    "bare word": ("not_json", b"nonsense"),
    "zeros": ("not_json", bytes(40)),
    "html": ("not_json", b"<html><body>502 Bad Gateway</body></html>"),
}

# Tables that stop a run with one line that says what is wrong with them.
TABLES: dict[str, tuple[str, bytes]] = {
    "empty.csv": ("must have rows", b""),
    "heading.csv": ("must have rows", b"text,label\n"),
    "utf-16.csv": ("in UTF-16: save it as UTF-8", "text,label\na,b\n".encode("utf-16")),
    "capitals.csv": ("say --data.input-column Text", b"Text,Label\nfine,good\n"),
    "other columns.csv": ("must have the column 'text'", b"a,b\n1,2\n"),
    "line break.csv": (
        "must have labels without line breaks",
        b"text,label\n" + b'fine,"a\nb"\n' * 4,
    ),
    "escape.csv": (
        "must have labels without line breaks",
        b"text,label\n" + b"fine,\x1b[31mred\n" * 4,
    ),
    "no label.csv": ("must have a 'label' in every row", b"text,label\nfine,\n"),
    "latin-1 label.csv": ("must have labels in UTF-8", b"text,label\nfine,caf\xe9\n"),
    "numbers.csv": ("where all are numbers", b"text,label\n1,good\n2,bad\n"),
    "no text.csv": ("where it is empty in all", b"text,label\n,good\n,bad\n"),
    "no json.jsonl": ("whose line 1 is no JSON", b"text,label\nfine,good\n"),
    "a list.jsonl": ("must have", b"[1, 2, 3]\n"),
    "sheet.xlsx": ("save it as CSV", b"PK\x03\x04"),
    "archive.zip": ("unpack it", b"PK\x03\x04"),
    "odd split.csv": ("did you mean train", b"text,label,split\nfine,good,trian\n"),
}
