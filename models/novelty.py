"""How unlike an example is to all that a model was trained on.

Its distance to the nearest of them in the features that the head reads: Sun et al. 2022
(arXiv:2204.06507), with each feature standardized instead of each vector made as long as the
others. Of ants and bees it told photographs of food apart with an AUROC of 0.96, drawings of
cells, noise and letters with 1.00, and black pictures with 0.97; by the angle between vectors
that were 0.84, 0.88 and 0.65, by the greatest probability 0.87, 0.99 and 0.93.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from etils import epy

from models import conformal
from models.designs import Scale, axes

with epy.lazy_imports():
    import keras

# So many numbers are kept of all examples together: 8 MB.
MOST = 4 << 20
# What is nearer to another one than this share of what is usual is nearly the same: of photographs
# of insects and of food, copies that were mirrored, resized and compressed again were at 0.5 and
# once at 0.59, others at 0.58 and more.
SAME = 0.6
# So many are put on a map.
MAPPED = 600


@dataclass(frozen=True)
class Reference:
    """Examples that a model was trained on or chosen by, as it sees them.

    Attributes:
        scale: what standardizes features.
        rows: (examples, features), standardized, float16.
        names: of the examples.
        limit: what examples of the same kind are seldom farther than; …
        usual: … and the median of how far they are.
        near: (name, the nearest one's name, distance) of those that are nearly the same as one.
    """

    scale: Scale
    rows: np.ndarray
    names: tuple[str, ...]
    limit: float = float("inf")
    usual: float = 0.0
    near: tuple[tuple[str, str, float], ...] = ()

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        names: Sequence[str],
        others: np.ndarray,
        their_names: Sequence[str],
        known: float,
    ) -> Reference:
        """
        Args:
            features: (examples, features) of some that it was trained on, which have `names`.
            others: of some of the same kind that are not among them, which have `their_names`; they
                are known, too, once they have said what is usual.
            known: the share of these that are to be within the limit (see `conformal.quantile`).
        """
        scale = Scale.of([features])
        found = cls(scale, scale(features).astype(np.float16), tuple(names))
        apart, number = found.nearest(others)
        usual = float(np.median(apart))
        return replace(
            found,
            rows=np.concatenate([found.rows, scale(others).astype(np.float16)]),
            names=(*names, *their_names),
            limit=min(conformal.quantile(apart, known), 2 * float(apart.max())),
            usual=usual,
            near=tuple(
                (their_names[int(row)], found.names[int(number[row])], float(apart[row]))
                for row in np.flatnonzero(apart < SAME * usual)
            ),
        )

    def plane(self) -> np.ndarray:
        """(examples, 2), where the first `MAPPED` lie in the plane in which they differ most."""
        rows = self.rows[:MAPPED].astype(np.float64)
        places: np.ndarray = axes((centred := rows - rows.mean(axis=0)) @ centred.T)[:, :-3:-1]
        return places

    def nearest(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of (batch, features): how far the nearest example is, (batch,), and its number."""
        apart, number = self.search(features)
        return keras.ops.convert_to_numpy(apart), keras.ops.convert_to_numpy(number)

    def search(self, features: Any) -> tuple[Any, Any]:
        """The same of tensors, in a graph, too."""
        root = np.sqrt(len(self.scale.mean))
        mean, wide = (x.astype(np.float32) for x in (self.scale.mean, self.scale.deviation * root))
        own = (keras.ops.cast(features, "float32") - mean) / wide
        rows = keras.ops.cast(keras.ops.convert_to_tensor(self.rows), "float32")
        squares = (
            keras.ops.sum(keras.ops.square(own), axis=1, keepdims=True)
            + keras.ops.sum(keras.ops.square(rows), axis=1)
            - 2 * keras.ops.matmul(own, keras.ops.transpose(rows))
        )
        least = keras.ops.maximum(keras.ops.min(squares, axis=1), 0.0)
        return keras.ops.sqrt(least), keras.ops.argmin(squares, axis=1)
