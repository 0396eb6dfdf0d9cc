"""Whether two examples are of one kind, by the vectors that a model of ours gives for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.files import read_json
from components.modalities.table import MODALITIES
from components.served.manifest import MANIFEST
from components.served.opening import EMBED, EMBEDDING, VALID, open_signatures
from components.served.predict import read
from models.mistakes import Mistake, printable

with epy.lazy_imports():
    import tensorflow as tf


@dataclass(frozen=True)
class Match:
    """Two examples, and how alike they are.

    Attributes:
        cosine: of their vectors: 1 for the same, about 0 for two that have nothing in common.
        same: whether that is at the threshold or above; None where the model has none.
        threshold: at which so many pairs of two kinds as `false_accepts` says are accepted.
    """

    first: str
    second: str
    cosine: float
    same: bool | None
    threshold: float | None
    false_accepts: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_line(self) -> str:
        """Tab-separated: the verdict, the cosine, and the threshold."""
        verdict = {True: "the same", False: "different", None: "cannot tell"}[self.same]
        bound = "" if self.threshold is None else f"\t{self.threshold:.4f}"
        return f"{verdict}\t{self.cosine:.4f}{bound}"


def embed(path: Path, modality: str, raws: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(examples, features), unit vectors that the model at `path` gives; and whether each is valid.

    Raises:
        Mistake: it gives no vectors.
    """
    signatures = open_signatures(path, modality)
    if EMBED not in signatures:
        raise Mistake(
            f"MODEL must have the signature {EMBED}, got {str(path)!r} without: run it again, with "
            f"--serve.known above 0"
        )
    answer = signatures[EMBED](raw=tf.constant(list(raws)))
    return answer[EMBEDDING].numpy(), answer[VALID].numpy()


def match(path: Path, modality: str, first: str, second: str) -> Match:
    """Ask the model at `path`, whose manifest was verified.

    Raises:
        Mistake: it gives no vectors, or cannot read one of the two.
    """
    is_path, names = MODALITIES[modality].raw.is_path, (first, second)
    raws = [read(name) if is_path else os.fsencode(name) for name in names]
    vectors, valid = embed(path, modality, raws)
    for name, is_valid in zip(names, valid, strict=True):
        if not is_valid:
            raise Mistake(f"INPUT must be an example that can be read, got {printable(name)!r}")
    cosine = float(vectors[0] @ vectors[1])
    known = read_json(path / MANIFEST).get("match") or {}
    threshold, rate = known.get("threshold"), known.get("rate")
    same = None if threshold is None else cosine >= threshold
    return Match(first, second, cosine, same, threshold, rate)
