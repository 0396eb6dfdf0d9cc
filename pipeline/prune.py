"""What the activation store holds that no artifact refers to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.extract import extract
from components.files import read_json
from pipeline.store import ARTIFACT, Store

_VERSION: int = extract.stage_version  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Leftover:
    """Activations of one frozen network, or some of them, that nothing refers to.

    Attributes:
        key: of the activations in the store.
        what: the network and its output, in words.
        rows: how many activations.
        bytes: that they take on disk.
        files: what would be removed, the descriptions first: what is half removed does not exist.
    """

    key: str
    what: str
    rows: int
    bytes: int
    files: tuple[Path, ...]


def leftovers(store: Store, without: Collection[Path] = ()) -> list[Leftover]:
    """Every key of the activation store with something that no artifact refers to.

    An artifact of an older version of `extract` is never used again, and does not count. What an
    extraction that was killed has got to is left for it to go on from.

    Args:
        without: directories of artifacts that are to be removed as well.
    """
    used = _referred_to(store, without)
    killed = any((store.root / "scratch").glob("extract-*"))
    found = [
        _leftover(path.parent, used)
        for path in sorted(store.activations.glob("*/meta.json"))
        if not (killed and read_json(path)["meaning"].get("version") == _VERSION)
    ]
    return [left for left in found if left.files]


def remove(left: Leftover) -> None:
    """Remove it from the disk."""
    for path in left.files:
        path.unlink(missing_ok=True)
    directory = left.files[0].parent
    if not any(directory.iterdir()):
        directory.rmdir()


def _referred_to(store: Store, without: Collection[Path]) -> dict[str, set[str]]:
    """Key → the shards of it that a finished `extract` artifact refers to."""
    used: dict[str, set[str]] = defaultdict(set)
    for path in store.root.glob(f"extract/*/{ARTIFACT}"):
        if path.parent in without:
            continue
        # What is damaged is made again.
        with suppress(OSError, ValueError, KeyError, TypeError):
            if read_json(path)["version"] == _VERSION:
                for key, shards in read_json(path.with_name("shards.json")).items():
                    used[key] |= {*shards}
    return used


def _leftover(directory: Path, used: dict[str, set[str]]) -> Leftover:
    key = directory.name
    described = {path.stem: path for path in directory.glob("*.json") if path.stem != "meta"}
    unused = sorted(described.keys() - used.get(key, set()))
    kept = described.keys() - set(unused)
    files = [described[shard] for shard in unused]
    # Of shards that are described and unused, and of those a killed pass left without description.
    files += [
        path
        for path in directory.glob("*.bin*")
        if path.suffix != ".bin" or path.name.split(".")[0] not in kept
    ]
    if not kept:
        files.append(directory / "meta.json")
    meaning: dict[str, Any] = read_json(directory / "meta.json")["meaning"]
    return Leftover(
        key=key,
        what=f"{meaning.get('backbone')}, {meaning.get('output')}",
        rows=sum(len(read_json(described[shard])["rows"]) for shard in unused),
        bytes=sum(path.stat().st_size for path in files),
        files=tuple(files),
    )
