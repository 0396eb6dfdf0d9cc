"""Activations that are not kept: computed for a batch when training asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from components import dataset
from components.artifacts import Examples, Features
from components.augment import augmenter
from components.budget import require_room
from components.files import files_below
from components.forward import Forward, batch_decoder
from components.networks import cut, open_backbone


class Records:
    """Random access to the raw form of examples, which a TFRecord does not give: one file."""

    def __init__(self, path: Path, examples: Examples, split: str) -> None:
        self._path = path
        require_room(path.parent, sum(p.stat().st_size for p in files_below(examples.dataset)))
        self._at: dict[str, tuple[int, int]] = {}
        end = 0
        with path.open("wb") as file:
            for row in dataset.read(examples, split).as_numpy_iterator():
                raw = row[examples.modality]
                self._at[row["id"].decode()] = (end, len(raw))
                end += file.write(raw)

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
        output: `pooled` or `crossing`.
        rows: {id, split, label} of the examples, all of one split.
    """

    def __init__(
        self, scratch: Path, features: Features, output: str, rows: list[dict[str, Any]]
    ) -> None:
        model = features.model
        network = open_backbone(model, model.weights)
        wanted = network if output == "pooled" else cut(model, network, features.cut).prefix
        self._forward = Forward(wanted, list(wanted.outputs), features.batch_size)
        self._batch_size = features.batch_size
        self._decode = batch_decoder(model, augmenter(features.policies, features.seed))
        self._identities = [str(row["id"]) for row in rows]
        split = str(rows[0]["split"])
        self._records = Records(scratch / f"{split}.raw", features.examples, split)

    def gather(self, rows: np.ndarray, view: int) -> list[np.ndarray]:
        """Positions in `rows` → float32 (batch, …) for each tensor."""
        parts = [
            self._compute([self._identities[row] for row in chosen], view)
            for chosen in np.split(rows, range(self._batch_size, len(rows), self._batch_size))
        ]
        return [np.concatenate(tensors) for tensors in zip(*parts, strict=True)]

    def _compute(self, identities: list[str], view: int) -> list[np.ndarray]:
        raw = self._records.read(identities)
        return self._forward(self._decode(identities, raw, np.full(len(raw), view, np.int32)))
