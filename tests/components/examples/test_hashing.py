"""Files that have not changed are not read again; any that has, is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components import files
from components.examples import hashing
from components.examples.hashing import Hashes
from components.files import sha256
from tests.conftest import write_classes

Read = list[str]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """The names of the files that were read, in whatever order."""
    names: Read = []
    real = files.sha256_of_each

    def counted(paths: list[Path], most: int | None = None) -> list[str]:
        names.extend(path.name for path in paths)
        return real(paths, most)

    monkeypatch.setattr(files, "sha256_of_each", counted)
    monkeypatch.setattr(hashing, "_YOUNG_NS", 0)
    return names


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[str]]:
    paths = sorted(write_classes(tmp_path / "photos", 3).rglob("*.*"))
    time.sleep(0.02)  # So that they are older than the clock's tick.

    def asked(**given: object) -> list[str]:
        hashes = Hashes(tmp_path / "digests", **given)  # type: ignore[arg-type]
        found = hashes.of("photos", paths)
        assert found == [sha256(path) for path in paths]
        return found

    return asked


def test_what_has_not_changed_is_not_read(ask: Callable[..., list[str]], read: Read) -> None:
    ask()
    assert len(read) == 6
    ask()
    assert len(read) == 6
    ask(read_all=True)
    assert len(read) == 12


def test_a_swap_that_keeps_size_and_mtime_is_noticed(
    ask: Callable[..., list[str]], read: Read, tmp_path: Path
) -> None:
    ask()
    read.clear()
    path = tmp_path / "photos" / "ant" / "0.png"
    before = path.stat()
    other = bytearray(path.read_bytes())
    other[-1] ^= 1
    path.write_bytes(bytes(other))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    ask()
    assert read == ["0.png"]


def test_what_changed_a_moment_ago_is_read_again(
    ask: Callable[..., list[str]], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change again within the same tick of the clock."""
    monkeypatch.setattr(hashing, "_YOUNG_NS", 10**12)
    ask()
    ask()
    assert len(read) == 12


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"x": 1}', b'{"x": [1, 2, 3, 4, 5]}'])
def test_what_is_damaged_is_said_and_made_again(
    damage: bytes, ask: Callable[..., list[str]], read: Read, tmp_path: Path
) -> None:
    said: list[str] = []
    ask()
    [file] = (tmp_path / "digests").iterdir()
    file.write_bytes(damage)
    read.clear()
    ask(say=said.append)
    assert len(read) == 6
    assert said == [f"{file} is damaged, so every file is read again"]
    ask(say=said.append)
    assert (len(read), len(said)) == (6, 1)
