"""The activation store: what a frozen prefix gave for an example, kept for all later runs.

```
activations/KEY/
    meta.json            shape and type of each tensor; what the key stands for, in words
    SHARD.json           the rows of a shard, and the sha256 of its files; written last
    SHARD.0.bin …        the rows of each tensor, one after the other
```

A tensor whose first dimension is None is ragged: every row is as long as its example, and no
padding is stored. All the ragged tensors of a row are of one length.

KEY says which prefix (architecture and weights) reads which preprocessing. A row is named by
the example's id and its view, `ID` for the example itself and `ID/VIEW` for an augmented one.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
from etils import epy

from components.files import read_json, sha256, sha256_of_each, sha256_of_json, write_json

with epy.lazy_imports():
    import keras
    import ml_dtypes

    from models import hardware

DType = Literal["bfloat16", "float32"]
Shape = tuple[int | None, ...]
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
    tensors: tuple[tuple[Shape, str], ...]

    @classmethod
    def open(
        cls,
        root: Path,
        key: str,
        tensors: Sequence[tuple[Shape, str]],
        meaning: dict[str, Any],
    ) -> Activations:
        """The store for `key` below `root`, made if it is not there."""
        directory = root / key
        directory.mkdir(parents=True, exist_ok=True)
        meta = {"tensors": [[list(shape), dtype] for shape, dtype in tensors], "meaning": meaning}
        with suppress(OSError, ValueError):  # Not there yet, or damaged: what it says is known.
            if read_json(directory / "meta.json") == json.loads(json.dumps(meta)):
                return cls.existing(root, key)
        write_json(directory / "meta.json", meta)
        return cls.existing(root, key)

    @classmethod
    def existing(cls, root: Path, key: str) -> Activations:
        """The store for `key`; `Damaged` where it does not say what is in it."""
        path = root / key / "meta.json"
        try:
            meta = read_json(path)
            tensors = tuple((tuple(shape), dtype) for shape, dtype in meta["tensors"])
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            for shard in path.parent.glob("*.json"):  # Of all of them nobody knows what they are.
                shard.unlink(missing_ok=True)
            raise Damaged(f"activations were damaged and are computed again: {path}") from error
        return cls(root / key, tensors)

    def row_bytes(self, length: int) -> int:
        """Bytes on disk of one row of all tensors, those that are ragged being of `length`."""
        return row_bytes(self.tensors, length)

    def index(self) -> dict[str, tuple[str, int]]:
        """Every row's name → (shard, position in it)."""
        found: dict[str, tuple[str, int]] = {}
        for shard in self.shards():
            said = self.directory / f"{shard}.json"
            try:
                rows = read_json(said)["rows"]
            except (ValueError, KeyError, TypeError):
                said.unlink(missing_ok=True)  # It counts as absent; see `Writer`.
                continue
            for position, name in enumerate(rows):
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
            said = self.directory / f"{shard}.json"
            # Another host may have removed it already.
            if not _is_whole(files, said):
                said.unlink(missing_ok=True)
                for file in files:
                    file.unlink(missing_ok=True)
                raise Damaged(f"activations were damaged and are computed again: {files[0]}")

    def writer(self, shard: str | None = None) -> Writer:
        """For rows to be added.

        Args:
            shard: the only shard, which others may write at the same time, to the same end. Where
                None there are as many as it takes, and nobody else may write.
        """
        return Writer(self, shard)

    def reader(self, names: Sequence[str]) -> Reader:
        """Random access to the rows called `names`; KeyError if one is missing.

        The shards they are in are compared with their digests first; see `verify`.
        """
        return Reader(self, names)


def _is_whole(files: list[Path], said: Path) -> bool:
    try:
        known = read_json(said)
        return bool(known["sha256"] == sha256_of_each(files) and known["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


class Writer:
    """Appends rows to the store, in a `with` block.

    Rows go to shards. A shard appears in the store when it is finished; what a killed process
    has written of one is ignored, and removed by the next writer.
    """

    def __init__(self, activations: Activations, shard: str | None) -> None:
        self._to = activations
        self._named = shard
        self._attempt = uuid.uuid4().hex if shard else ""
        whole = set(activations.shards())
        for path in [] if shard else activations.directory.glob("*.bin*"):
            if path.suffix != ".bin" or path.stem.split(".")[0] not in whole:
                path.unlink()  # What a killed pass left.
        self._rows: list[str] = []
        self._lengths: list[int] = []
        self._bytes = 0
        self._files: list[Any] = []
        self._shard = ""

    def add(
        self, names: Sequence[str], tensors: Sequence[np.ndarray], lengths: np.ndarray | None = None
    ) -> None:
        """A batch: the rows' names, and an array of (batch, …) for each tensor.

        Args:
            lengths: of each row in what is ragged; what is behind it in the arrays is left out.
        """
        if not self._shard:
            self._shard = self._named or uuid.uuid4().hex
            self._files = [path.open("wb") for path in self._paths()]
        for file, tensor, (shape, dtype) in zip(
            self._files, tensors, self._to.tensors, strict=True
        ):
            if None in shape:
                if lengths is None:
                    raise ValueError(f"rows of shape {shape} must have lengths, got none")
                tensor = tensor[np.arange(tensor.shape[1]) < lengths[:, None]]
            typed = np.ascontiguousarray(tensor.astype(_numpy_dtype(dtype)))
            file.write(typed.reshape(-1).view(np.uint8).data)
            self._bytes += typed.nbytes
        self._rows += names
        self._lengths += [1] * len(names) if lengths is None else lengths.tolist()

    def is_full(self) -> bool:
        return self._bytes >= SHARD_BYTES

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
            for path in self._paths() if self._attempt else ():
                path.rename(path.with_suffix(""))
            content = {"rows": self._rows, "lengths": self._lengths, "sha256": digests}
            write_json(self._to.directory / f"{self._shard}.json", content)
            self._rows, self._lengths, self._files, self._shard, self._bytes = [], [], [], "", 0

    def _paths(self) -> list[Path]:
        attempt = f".{self._attempt}" if self._attempt else ""
        return [
            self._to.directory / f"{self._shard}.{number}.bin{attempt}"
            for number in range(len(self._to.tensors))
        ]


class Reader:
    """Rows by position, read through memory maps.

    Attributes:
        lengths: of each row in what is ragged; None where nothing is.
    """

    def __init__(self, activations: Activations, names: Sequence[str]) -> None:
        index = activations.index()
        if missing := next((name for name in names if name not in index), None):
            raise Damaged(f"activations are gone and are computed again: {missing}")
        shards = sorted({index[name][0] for name in names})
        activations.verify(shards)
        number = {shard: position for position, shard in enumerate(shards)}
        self._tensors = activations.tensors
        self._shard = np.array([number[index[name][0]] for name in names], np.int32)
        self._position = np.array([index[name][1] for name in names], np.int64)
        ragged = any(None in shape for shape, _ in self._tensors)
        # In each shard: where each row begins, and at the end where the last one ends.
        self._begins = [
            np.cumsum([0, *read_json(activations.directory / f"{shard}.json")["lengths"]])
            for shard in shards
        ]
        begins = [self._begins[shard] for shard in self._shard] if ragged else []
        self.lengths = (
            np.array([b[at + 1] - b[at] for b, at in zip(begins, self._position, strict=True)])
            if ragged
            else None
        )
        self._maps = [
            [
                np.memmap(
                    activations.directory / f"{shard}.{n}.bin", _numpy_dtype(dtype), "r"
                ).reshape(-1, *(shape[1:] if None in shape else shape))
                for n, (shape, dtype) in enumerate(activations.tensors)
            ]
            for shard in shards
        ]

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """Positions in `names`, (batch,) → (batch, …) for each tensor, float32 or int32.

        What is ragged is as long as the longest of these rows, the others padded with 0.
        """
        longest = 1
        if self.lengths is not None:
            longest = hardware.padded_length(int(self.lengths[rows].max()))
        return [
            self._ragged(n, rows, longest) if None in shape else self._even(n, rows)
            for n, (shape, _) in enumerate(self._tensors)
        ]

    def _even(self, tensor: int, rows: np.ndarray) -> np.ndarray:
        shape, dtype = self._tensors[tensor]
        out = np.empty((len(rows), *cast(tuple[int, ...], shape)), _given_as(dtype))
        for shard in np.unique(self._shard[rows]):
            at = np.flatnonzero(self._shard[rows] == shard)
            out[at] = self._maps[shard][tensor][self._position[rows[at]]]
        return out

    def _ragged(self, tensor: int, rows: np.ndarray, longest: int) -> np.ndarray:
        shape, dtype = self._tensors[tensor]
        out = np.zeros((len(rows), longest, *cast(tuple[int, ...], shape[1:])), _given_as(dtype))
        for i, (shard, at) in enumerate(zip(self._shard[rows], self._position[rows], strict=True)):
            begin, end = self._begins[shard][at : at + 2]
            out[i, : end - begin] = self._maps[shard][tensor][begin:end]
        return out


def row_bytes(tensors: Sequence[tuple[Shape, str]], length: int) -> int:
    """Bytes on disk of one row of `tensors`, those that are ragged being of `length`."""
    return sum(
        math.prod(length if size is None else size for size in shape) * _numpy_dtype(dtype).itemsize
        for shape, dtype in tensors
    )


def key_of(meaning: dict[str, Any]) -> str:
    return sha256_of_json(meaning)[:32]


def stored_as(network: keras.Model, dtype: DType) -> list[tuple[Shape, str]]:
    """(shape, dtype) of each output of `network`; what is no number with a fraction is int32."""
    return [
        (tuple(tensor.shape[1:]), dtype if keras.backend.is_float_dtype(tensor.dtype) else "int32")
        for tensor in network.outputs
    ]


def _numpy_dtype(dtype: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def _given_as(dtype: str) -> np.dtype[Any]:
    return np.dtype(np.int32 if dtype == "int32" else np.float32)
