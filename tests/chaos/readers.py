"""What reads bytes that somebody else wrote: it says one thing of ours, or uses them.

`fuzz` tries it with whatever bytes; `test_readers` with those that were found so.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.examples import tables
from components.files import MANIFEST, sha256_of_json
from components.modalities.photos import orientation
from components.modalities.photos import raw as photos
from components.modalities.sounds import form, wav
from components.modalities.sounds import raw as sounds
from components.served.inspecting import inspect
from components.served.manifest import verify_manifest
from components.served.versions import JOURNAL, ServingDirectory
from components.tasks.protocol import Column
from models.mistakes import Mistake
from pipeline import recipe
from pipeline.store import read_manifest
from tests.chaos import corpus


@dataclass(frozen=True)
class Reader:
    """What reads bytes, given a folder of its own, and bytes to begin with."""

    read: Callable[[bytes, Path], object]
    seeds: Callable[[], Iterable[bytes]]


def _made(kinds: corpus.Kinds) -> list[bytes]:
    """The regular ones of a corpus that are not too large to be changed at many places."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for number, (_, make) in enumerate(kinds.values()):
            path = Path(directory) / str(number)
            make(path)
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 20_000:
                found.append(path.read_bytes())
    return found


_PICTURE = photos.Picture(input_size=16, resize="pad")
_SOUND = form.Sound(rate=8000, seconds=0.25)


def _traced(function: Callable[[Any], Any]) -> Any:
    return tf.function(function, input_signature=[tf.TensorSpec((), tf.string)])


def _same_mind(raw: bytes, check: Callable[[bytes], Any], decode: Callable[[Any], Any]) -> None:
    """What the gate lets in is decoded when it is served, and nothing else is."""
    try:
        check(raw)
        used = True
    except ValueError:
        used = False
    try:
        values = decode(tf.constant(raw)).numpy()
        served = True
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        served = False
    assert used == served, f"used {used}, served {served}"
    assert not used or np.isfinite(values).all()


_pixels = _traced(lambda raw: photos.decode(_PICTURE, raw))
_samples = _traced(lambda raw: sounds.decode(_SOUND, raw))
_headers = _traced(orientation.of_jpeg)


def _photos(raw: bytes, _: Path) -> None:
    _same_mind(raw, photos.check, _pixels)


def _sounds(raw: bytes, _: Path) -> None:
    _same_mind(raw, sounds.check, _samples)


def _jpeg(raw: bytes, _: Path) -> None:
    turned = int(_headers(b"\xff\xd8" + raw))
    assert 1 <= turned <= 8, turned


def _chunks(raw: bytes, _: Path) -> None:
    """The parser alone, without a reader's gate before it."""
    try:
        signal, rate = _parsed(b"RIFF" + raw)
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        return
    assert int(rate) > 0
    assert np.isfinite(signal.numpy()).all()


_parsed = _traced(wav.samples)
_ONE = (Column(columns=("label",)),)


def _table(raw: bytes, place: Path) -> None:
    for name, modality in (("a.csv", "text"), ("b.jsonl", "text"), ("c.csv", "image")):
        table = place / name
        table.write_bytes(raw)
        try:
            for record in tables.read(table, modality, _ONE, bound=place):
                str(record.name).encode()
                if modality == "text":
                    try:
                        record.read()
                    except ValueError as error:
                        str(error).encode()
        except Mistake as mistake:
            str(mistake).encode()


def _recipe(raw: bytes, place: Path) -> None:
    path = place / "fuzzed.toml"
    path.write_bytes(raw)
    with suppress(Mistake):
        recipe.validate(recipe.read_recipe(path))


def _manifest(raw: bytes, place: Path) -> None:
    """Those of a model, and of an artifact."""
    for name in (MANIFEST, "artifact.json"):
        (place / name).write_bytes(raw)
    with suppress(Mistake):
        verify_manifest(place)
    with suppress(OSError, ValueError):
        read_manifest(place)


def _journal(raw: bytes, place: Path) -> None:
    (place / MANIFEST).write_text("{}")
    (place / JOURNAL).write_bytes(raw)
    there = ServingDirectory(place)
    there.journal()
    assert isinstance(there.digest, str)
    there.withdrawn()
    there.gone(place)
    there.holds(place)


def _program(raw: bytes, place: Path) -> None:
    (place / "saved_model.pb").write_bytes(raw)
    with suppress(Mistake):
        inspect(place)


def _programs() -> Iterable[bytes]:
    module = tf.Module()
    module.serve = _traced(lambda raw: {"length": tf.strings.length(raw)})
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory)
        yield (Path(directory) / "saved_model.pb").read_bytes()


def _recipes() -> Iterable[bytes]:
    yield from (path.read_bytes() for path in sorted(recipe.RECIPES.glob("*.toml")))


def _tables() -> Iterable[bytes]:
    yield from (content for _, content in (*corpus.TABLES.values(), *corpus.LINES.values()))
    yield b"text,label,split\na fine film,good,train\nno,bad,test\n"
    yield b"path,label\na.jpg,good\n../b.jpg,bad\n"


def _manifests() -> Iterable[bytes]:
    space = {"labels": ["a", "b"]}
    one = {"modality": "image", "files": {}, "targets": [{"task": "one_label", "space": space}]}
    yield json.dumps(one).encode()
    yield json.dumps(one | {"files": {"a/b": {"size": 3, "sha256": "00"}}}).encode()
    yield json.dumps({"modality": "sound", "files": {}, "labels": ["a", "b"]}).encode()
    artifact = {"stage": "ingest", "fingerprint": "00", "version": 1, "digest": "00"}
    more = {"files": {"a": {"size": 1, "sha256": ""}}, "facts": {}, "stats": {}, "inputs": {}}
    yield json.dumps(artifact | more).encode()


def _journals() -> Iterable[bytes]:
    when, empty = "2026-11-28T00:00:00+0000", sha256_of_json(None)
    rows = [
        {"time": when, "what": "pushed", "version": 1, "manifest": empty},
        {"time": when, "what": "removed", "version": 1},
        {"time": when, "what": "rolled back", "version": 2, "withdrawn": [empty], "reason": "bad"},
    ]
    yield "\n".join(map(json.dumps, rows)).encode()


READERS = {
    "photos": Reader(_photos, lambda: _made(corpus.PICTURES)),
    "jpeg": Reader(_jpeg, lambda: [raw[2:] for raw in _made(corpus.PICTURES)]),
    "sounds": Reader(_sounds, lambda: _made(corpus.SOUNDS)),
    "wav": Reader(_chunks, lambda: [raw[4:] for raw in _made(corpus.SOUNDS)]),
    "table": Reader(_table, _tables),
    "recipe": Reader(_recipe, _recipes),
    "manifest": Reader(_manifest, _manifests),
    "journal": Reader(_journal, _journals),
    "program": Reader(_program, _programs),
}
