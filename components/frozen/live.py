"""Activations that are not kept: computed for a batch when training asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from components.artifacts import Examples, Features
from components.disk import require_room
from components.examples import dataset
from components.files import files_below
from components.frozen.forward import Forward
from components.frozen.networks import cut, open_frozen
from components.modalities.table import open_reader
from models import distribution
from models.mistakes import Mistake


class Records:
    """Random access to the raw form of examples, which a TFRecord does not give: one file."""

    def __init__(self, path: Path, examples: Examples, split: str) -> None:
        self._path = path
        needed = sum(p.stat().st_size for p in files_below(examples.dataset))
        require_room(path.parent, needed, "the examples, in one file")
        self._at: dict[str, tuple[int, int]] = {}
        end = 0
        with path.open("wb") as file:
            for row in dataset.rows(examples, split):
                self._at[row.id] = (end, len(row.raw))
                end += file.write(row.raw)

    def sizes(self, identities: list[str]) -> np.ndarray:
        """Of the raw form of each, in bytes."""
        return np.array([self._at[identity][1] for identity in identities])

    def read(self, identities: list[str]) -> list[bytes]:
        """The raw form of each."""
        found = []
        with self._path.open("rb") as file:
            for start, length in (self._at[identity] for identity in identities):
                file.seek(start)
                found.append(file.read(length))
        return found


class Live:
    """Like `activations.Reader`, but nothing was stored: the frozen part runs for every batch.

    Args:
        scratch: a directory for the examples' raw forms, in one file.
        output: `pooled` or `at_cut`.
        rows: {id, split, label} of the examples, all of one split.
    """

    def __init__(
        self, scratch: Path, features: Features, output: str, rows: list[dict[str, Any]]
    ) -> None:
        if distribution.hosts()[0] > 1:
            raise Mistake(
                "augment.views must be a number, and extract.budget enough for what it comes to, "
                "where several hosts train, got activations that are not stored"
            )
        model = features.model
        network = open_frozen(model, model.weights)
        wanted = network if output == "pooled" else cut(model, network, features.cut).prefix
        self._outputs = list(wanted.outputs)
        self._forward = Forward(wanted, self._outputs, features.batch_size)
        self._batch_size = features.batch_size
        self._reader = open_reader(model, features.views, features.seed)
        self._identities = [str(row["id"]) for row in rows]
        split = str(rows[0]["split"])
        self._records = Records(scratch / f"{split}.raw", features.examples, split)

        # Longer text has more tokens: that is all that batches of one length need to know.
        self.lengths = self._records.sizes(self._identities) if _is_ragged(wanted) else None

    def gather(self, rows: np.ndarray, view: int) -> list[np.ndarray]:
        """Positions in `rows` → float32 (batch, …) for each tensor; ragged ones padded with 0."""
        parts = [
            self._compute([self._identities[row] for row in chosen], view)
            for chosen in np.split(rows, range(self._batch_size, len(rows), self._batch_size))
        ]
        return [_joined(tensors) for tensors in zip(*parts, strict=True)]

    def _compute(self, identities: list[str], view: int) -> list[np.ndarray]:
        raws = self._records.read(identities)
        batch = self._reader.read(identities, raws, [view] * len(raws))
        tensors = self._forward(batch.inputs)
        if batch.lengths is None:
            return tensors
        return [
            _cleared(tensor, batch.lengths) if None in symbolic.shape[1:] else tensor
            for tensor, symbolic in zip(tensors, self._outputs, strict=True)
        ]


def _cleared(tensor: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(batch, tokens, …) with 0 where there is no token, as if it had been stored."""
    there = np.arange(tensor.shape[1]) < lengths[:, None]
    result: np.ndarray = tensor * there.reshape(*there.shape, *[1] * (tensor.ndim - 2))
    return result.astype(tensor.dtype)


def _is_ragged(network: keras.Model) -> bool:
    return any(None in tensor.shape[1:] for tensor in network.inputs)


def _joined(tensors: Sequence[np.ndarray]) -> np.ndarray:
    """Batches one after the other, those that are shorter padded."""
    if tensors[0].ndim < 2 or len({tensor.shape[1] for tensor in tensors}) == 1:
        return np.concatenate(tensors)
    length = max(tensor.shape[1] for tensor in tensors)
    widths = [[(0, 0), (0, length - t.shape[1]), *[(0, 0)] * (t.ndim - 2)] for t in tensors]
    return np.concatenate([np.pad(t, w) for t, w in zip(tensors, widths, strict=True)])
