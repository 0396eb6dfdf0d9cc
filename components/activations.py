"""The activation store: what a frozen prefix gave for an example, kept for all later runs.

```
activations/KEY/
    meta.json            shape and type of each tensor; what the key stands for, in words
    SHARD.json           the rows of a shard, and the sha256 of its files; written last
    SHARD.0.bin …        the rows of each tensor, one after the other
```

KEY says which prefix (architecture and weights) reads which preprocessing. A row is named by
the example's id and its view, `ID` for the example itself and `ID/VIEW` for an augmented one.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from etils import epy

from components.files import read_json, sha256, sha256_of_each, sha256_of_json, write_json

with epy.lazy_imports():
    import keras
    import ml_dtypes

DType = Literal["bfloat16", "float32"]
# A shard is finished at this size, so that reading one row maps no more than this.
SHARD_BYTES = 256 << 20


def network_digest(network: keras.Model) -> str:
    """sha256 over the weights of a network, in order."""
    digest = hashlib.sha256()
    for weight in network.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


class Damaged(Exception):
    """A shard was not what was written; it is removed, and can be computed again."""


@dataclass(frozen=True)
class Activations:
    """The activations of one prefix. `tensors` are (shape without the batch, dtype) each."""

    directory: Path
    tensors: tuple[tuple[tuple[int, ...], DType], ...]

    @classmethod
    def open(
        cls,
        root: Path,
        key: str,
        shapes: Sequence[tuple[int, ...]],
        dtype: DType,
        meaning: dict[str, Any],
    ) -> Activations:
        """The store for `key` below `root`, made if it is not there."""
        directory = root / key
        directory.mkdir(parents=True, exist_ok=True)
        meta = {"tensors": [[list(shape), dtype] for shape in shapes], "meaning": meaning}
        if not (directory / "meta.json").exists():
            write_json(directory / "meta.json", meta)
        return cls.existing(root, key)

    @classmethod
    def existing(cls, root: Path, key: str) -> Activations:
        meta = read_json(root / key / "meta.json")
        return cls(root / key, tuple((tuple(shape), dtype) for shape, dtype in meta["tensors"]))

    def row_bytes(self) -> int:
        """Bytes that one row of all tensors takes on disk."""
        return sum(row_bytes([shape], dtype) for shape, dtype in self.tensors)

    def index(self) -> dict[str, tuple[str, int]]:
        """Every row's name → (shard, position in it)."""
        found: dict[str, tuple[str, int]] = {}
        for shard in self.shards():
            for position, name in enumerate(read_json(self.directory / f"{shard}.json")["rows"]):
                found[name] = (shard, position)
        return found

    def shards(self) -> list[str]:
        """The shards that are finished."""
        paths = sorted(self.directory.glob("*.json"))
        return [path.stem for path in paths if path.name != "meta.json"]

    def verify(self, shards: Sequence[str]) -> None:
        """Compare shards with their digests; one that differs is removed, and `Damaged` raised."""
        for shard in shards:
            files = [self.directory / f"{shard}.{n}.bin" for n in range(len(self.tensors))]
            if sha256_of_each(files) != read_json(self.directory / f"{shard}.json")["sha256"]:
                (self.directory / f"{shard}.json").unlink()
                for file in files:
                    file.unlink(missing_ok=True)
                raise Damaged(f"activations were damaged and are computed again: {files[0]}")

    def writer(self) -> Writer:
        return Writer(self)

    def reader(self, names: Sequence[str]) -> Reader:
        """Random access to the rows called `names`; KeyError if one is missing.

        The shards they are in are compared with their digests first; see `verify`.
        """
        return Reader(self, names)


class Writer:
    """Appends rows, in a `with` block; a shard that was not finished does not exist."""

    def __init__(self, activations: Activations) -> None:
        self._to = activations
        whole = set(activations.shards())
        for path in activations.directory.glob("*.bin"):
            if path.name.split(".")[0] not in whole:  # What a killed pass left.
                path.unlink()
        self._rows: list[str] = []
        self._files: list[Any] = []
        self._shard = ""

    def add(self, names: Sequence[str], tensors: Sequence[np.ndarray]) -> None:
        """A batch: the rows' names, and an array of (batch, …) for each tensor."""
        if not self._shard:
            self._shard = uuid.uuid4().hex
            self._files = [path.open("wb") for path in self._paths()]
        for file, tensor, (_, dtype) in zip(self._files, tensors, self._to.tensors, strict=True):
            file.write(np.ascontiguousarray(tensor.astype(_numpy_dtype(dtype))).view(np.uint8).data)
        self._rows += names

    def is_full(self) -> bool:
        return len(self._rows) * self._to.row_bytes() >= SHARD_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        for file, path in zip(self._files, self._paths(), strict=False):
            file.close()
            path.unlink()

    def finish(self) -> None:
        """Close the shard, which exists from now on; the next row begins another."""
        if self._shard:
            for file in self._files:
                file.close()
            digests = [sha256(path) for path in self._paths()]
            content = {"rows": self._rows, "sha256": digests}
            write_json(self._to.directory / f"{self._shard}.json", content)
            self._rows, self._files, self._shard = [], [], ""

    def _paths(self) -> list[Path]:
        return [
            self._to.directory / f"{self._shard}.{number}.bin"
            for number in range(len(self._to.tensors))
        ]


class Reader:
    """Rows by position, read through memory maps."""

    def __init__(self, activations: Activations, names: Sequence[str]) -> None:
        index = activations.index()
        shards = sorted({index[name][0] for name in names})
        activations.verify(shards)
        number = {shard: position for position, shard in enumerate(shards)}
        self._tensors = activations.tensors
        self._shard = np.array([number[index[name][0]] for name in names], np.int32)
        self._position = np.array([index[name][1] for name in names], np.int64)
        self._maps = [
            [
                np.memmap(
                    activations.directory / f"{shard}.{n}.bin", _numpy_dtype(dtype), "r"
                ).reshape(-1, *shape)
                for n, (shape, dtype) in enumerate(activations.tensors)
            ]
            for shard in shards
        ]

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """Positions in `names`, (batch,) → float32 (batch, …) for each tensor."""
        batch = [np.empty((len(rows), *shape), np.float32) for shape, _ in self._tensors]
        for shard in np.unique(self._shard[rows]):
            at = np.flatnonzero(self._shard[rows] == shard)
            for out, mapped in zip(batch, self._maps[shard], strict=True):
                out[at] = mapped[self._position[rows[at]]]
        return batch


def row_bytes(shapes: Sequence[tuple[int, ...]], dtype: DType) -> int:
    """Bytes that one row of tensors of these shapes takes on disk."""
    return sum(math.prod(shape) for shape in shapes) * _numpy_dtype(dtype).itemsize


def key_of(meaning: dict[str, Any]) -> str:
    return sha256_of_json(meaning)[:32]


def _numpy_dtype(dtype: DType) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(np.float32)
