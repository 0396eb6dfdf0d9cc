"""Files that are whole or absent, and what proves them so."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from models.mistakes import UNSEEN, Mistake

# No example is larger: whatever a file says of itself, so much of it fits into memory.
MOST_BYTES = 1 << 30


# Of a path, to TensorFlow: what begins a pattern, or hides what comes after it.
_OF_PATTERNS = re.compile(r"[\[\]*?\\]")


def check_place(path: Path, field: str) -> Path:
    """The path; a `Mistake` where TensorFlow could not load from there what is written there."""
    if found := _OF_PATTERNS.search(str(path)) or UNSEEN.search(str(path)):
        raise Mistake(
            f"{field} must be a path without {found[0]!r}, which TensorFlow takes for a pattern or "
            f"cannot write, got {str(path)!r}"
        )
    return path


@contextmanager
def opened(path: Path, most: int | None = None) -> Iterator[BufferedReader]:
    """A regular file, to be read: OSError for a FIFO, which nobody may ever write to, or a device.

    What is named by data, such as in a row of a table, can be anything.

    Args:
        most: OSError where it has more bytes.
    """
    # Without waiting for who writes; of a folder there is a handle, too, and no file.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if most is not None and found.st_size > most:
            why = f"it has {found.st_size:,} bytes, and {most:,} at most are read"
            raise OSError(errno.EFBIG, why, str(path))
    except OSError:
        os.close(handle)
        raise
    with open(handle, "rb") as file:
        yield file


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file; see `opened`."""
    with opened(path, most) as file:
        return file.read()


def sha256(path: Path, most: int | None = None) -> str:
    """The hexadecimal sha256 of a regular file's bytes; see `opened`."""
    with opened(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_id(raw: bytes) -> str:
    """The id of an example: of its content alone."""
    return hashlib.sha256(raw).hexdigest()[:32]


def sha256_of_each(paths: Iterable[Path], most: int | None = None) -> list[str]:
    """`sha256` of many files at once; a file that cannot be read has an empty one."""

    def digest(path: Path) -> str:
        try:
            return sha256(path, most)
        except OSError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(digest, paths))


def sha256_of_json(value: Any) -> str:
    """The sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_rows(rows: Iterable[Any]) -> str:
    """The sha256 of the canonical JSON of many values, which need not be in memory together."""
    digest = hashlib.sha256()
    for row in rows:
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), default=str)
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def files_below(directory: Path) -> list[Path]:
    """All files in a folder and its folders, sorted by name."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def manifest_of(directory: Path, *, leave_out: str = "") -> dict[str, dict[str, Any]]:
    """Relative path → size and sha256 of every file below `directory`; OSError if one cannot be
    read."""
    paths = [path for path in files_below(directory) if path.name != leave_out]
    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(sha256, paths))
    return {
        path.relative_to(directory).as_posix(): {"size": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }


# What says which files a model that is served has.
MANIFEST = "MANIFEST.json"


def changed(directory: Path, manifest: str) -> list[str]:
    """The files of a directory that are not what its manifest says, or are there without it.

    Args:
        manifest: its name; the sha256 and the size of each file are under `files` in it.

    Raises:
        OSError, ValueError: there is no such manifest.
    """
    said = read_json(directory / manifest)
    if not isinstance(said, dict) or not isinstance(said.get("files"), dict):
        raise ValueError(f"{directory / manifest} must have files, got none")
    if odd := _odd_below(directory):  # Links may lead anywhere, and to themselves.
        return odd
    files, found = said["files"], manifest_of(directory, leave_out=manifest)
    found.pop(f"{manifest}.sig", None)  # It is of the manifest; see `served.signing`.
    return [name for name in sorted(files.keys() | found) if files.get(name) != found.get(name)]


def _odd_below(directory: Path) -> list[str]:
    """What is neither a folder nor a regular file there, by name."""
    found = []
    for folder, folders, files in os.walk(directory):
        paths = [Path(folder, name) for name in (*folders, *files)]
        found += [p for p in paths if p.is_symlink() or not (p.is_dir() or p.is_file())]
    return sorted(path.relative_to(directory).as_posix() for path in found)


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file so that it is whole or absent, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=indent, default=str)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def cell(value: Any) -> str:
    """A value as a table has it; several are put side by side."""
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def read_json(path: Path) -> Any:
    return parsed(read_regular(path, MOST_BYTES).decode("utf-8"))


def parsed(text: str) -> Any:
    """What JSON says; ValueError where it is none, or is nested deeper than anybody means."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    # Half a character, which is no UTF-8, is escaped as JSON escapes it.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> Iterator[Any]:
    """The rows of a JSON Lines file; none where it does not exist."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (parsed(line) for line in file if line.strip())


def fsync_directory(directory: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(directory: Path) -> None:
    """Make every file and folder below `directory` durable."""
    for path in [*directory.rglob("*"), directory]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
