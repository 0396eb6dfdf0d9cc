"""How unlike an example is to all that a model was trained on.

Its distance to the nearest of them in the features that the head reads: Sun et al. 2022
(arXiv:2204.06507), with each feature standardized instead of each vector made as long as the
others. Of ants and bees it told photographs of food apart with an AUROC of 0.96, noise with 1.00
and black pictures with 0.97; by the angle between the same vectors that were 0.84, 0.88 and 0.65,
by the greatest probability 0.87, 0.99 and 0.93.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from etils import epy

from models import conformal
from models.designs import Scale, axes

with epy.lazy_imports():
    import keras

# So many examples are kept at most, and so many numbers of all of them together: 8 MB.
EXAMPLES, MOST = 4096, 4 << 20
# Of examples that have nothing to do with each other, so many are as near as what is taken to be
# nearly the same; and it is at most this share of what is usual. (Copies of photographs that were
# mirrored, resized and compressed again were at 0.1 to 0.6 of that, others at 0.58 and more.)
BY_CHANCE, _AT_MOST = 0.005, 0.65
# So many are put on a map.
MAPPED = 600
# So many of the others say how far an example is from all.
_FEW = 3
# The median of the absolute deviation of what is normally distributed.
_NORMAL = 0.6745
# Logarithms of distances are taken to differ by as much as this at least.
_LEAST_USUAL = 0.05
# What `far_off` says of an outlier.
OUTLIER = 3.5


@dataclass(frozen=True)
class Reference:
    """Examples that a model was trained on or chosen by, as it sees them.

    Attributes:
        scale: what standardizes features.
        rows: (examples, features), standardized, float16.
        names: of the examples.
        limit: what examples of the same kind are seldom farther than; …
        usual: … the median of how far they are; …
        same: … and what nothing but nearly the same is nearer than.
        near: (name, the nearest one's name, distance) of those that are nearly the same as one.
        fitted: how many of them, the first, it was trained on.
    """

    scale: Scale
    rows: np.ndarray
    names: tuple[str, ...]
    limit: float = float("inf")
    usual: float = 0.0
    same: float = 0.0
    near: tuple[tuple[str, str, float], ...] = ()
    fitted: int = 0

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
        rows = np.concatenate([found.rows, scale(others).astype(np.float16)])
        usual, same = _near(rows)
        return replace(
            found,
            rows=rows,
            names=(*names, *their_names),
            fitted=len(names),
            limit=min(conformal.quantile(apart, known), 2 * float(apart.max())),
            usual=usual,
            same=same,
            near=tuple(
                (their_names[int(row)], found.names[int(number[row])], float(apart[row]))
                for row in np.flatnonzero(apart < same)
            ),
        )

    def plane(self) -> np.ndarray:
        """(examples, 2), where the first `MAPPED` lie in the plane in which they differ most."""
        rows = self.rows[:MAPPED].astype(np.float64)
        places = axes((centred := rows - rows.mean(axis=0)) @ centred.T)[:, :-3:-1]
        found: np.ndarray = np.pad(places, [(0, 0), (0, 2 - places.shape[1])])
        return found

    def unit(self, features: Any) -> Any:
        """Of tensors, (batch, features): vectors of length 1 whose cosines tell what is alike.

        Each feature has its mean taken off, and is divided by its deviation and the usual one.
        """
        mean, wide = (x.astype(np.float32) for x in (self.scale.mean, self._wide))
        own = (keras.ops.cast(features, "float32") - mean) / wide
        length = keras.ops.sqrt(keras.ops.sum(keras.ops.square(own), axis=1, keepdims=True))
        return own / keras.ops.maximum(length, 1e-12)

    def vectors(self) -> np.ndarray:
        """(examples, features): the same of its own examples."""
        deviation = self.scale.deviation * np.sqrt(len(self.scale.mean))
        own = self.rows.astype(np.float64) * (deviation / self._wide)
        length = np.sqrt(np.square(own).sum(axis=1, keepdims=True))
        found: np.ndarray = own / np.maximum(length, 1e-12)
        return found

    @property
    def _wide(self) -> np.ndarray:
        return self.scale.softened().deviation

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
        number = keras.ops.argmin(squares, axis=1)
        # Anew: what is nearly the same is a small difference of large squares.
        nearest = keras.ops.take(rows, number, axis=0)
        apart = keras.ops.sum(keras.ops.square(own - nearest), axis=1)
        return keras.ops.sqrt(apart), number


def _near(rows: np.ndarray) -> tuple[float, float]:
    """How far the nearest other example usually is, and what is nearer than chance makes it.

    Where examples lie evenly in d dimensions, the nearest is nearer than r with a probability of
    about r to the power of d; d follows from how distances are spread, as in Facco et al. 2017
    (arXiv:1803.06992). Of handwritten digits, which have few, more are alike than of photographs.
    """
    wide = rows.astype(np.float32)
    squares = np.square(wide).sum(axis=1)
    apart = squares[:, None] + squares - 2 * wide @ wide.T
    np.fill_diagonal(apart, np.inf)
    nearest = np.sqrt(np.maximum(apart.min(axis=1), 0.0))
    usual, tenth = float(np.median(nearest)), float(np.quantile(nearest, 0.1))
    if not 0 < tenth < usual:
        return usual, 0.0
    half, dense = math.log(2), -math.log(1 - 0.1)
    dimensions = math.log(dense / half) / math.log(tenth / usual)
    return usual, usual * min((BY_CHANCE / half) ** (1 / dimensions), _AT_MOST)


def to_the_nearest(products: np.ndarray) -> np.ndarray:
    """(examples,): how far each is from the few others that are most like it, their mean.

    Ramaswamy et al. 2000, Efficient algorithms for mining outliers from large data sets.

    Args:
        products: (examples, examples) of their features.
    """
    lengths = np.diag(products)
    squares = np.maximum(lengths[:, None] + lengths - 2 * products, 0.0)
    np.fill_diagonal(squares, np.inf)
    few = min(_FEW, len(squares) - 1)
    found: np.ndarray = np.sqrt(np.partition(squares, few - 1, axis=1)[:, :few]).mean(axis=1)
    return found


def far_off(distances: np.ndarray) -> np.ndarray:
    """(examples,): by how many deviations a distance is greater than is usual.

    Of logarithms, from the median and the median deviation, which outliers do not move: Iglewicz &
    Hoaglin 1993, who take what is beyond `OUTLIER` for one.
    """
    apart = distances > 1e-6 * max(float(distances.max(initial=0.0)), 1e-12)
    if not apart.any():
        return np.zeros(len(distances))
    logs = np.log(np.where(apart, distances, 1.0))
    away = np.where(apart, logs - np.median(logs[apart]), 0.0)  # Copies are like each other.
    usual = float(np.median(np.abs(away[apart]))) / _NORMAL
    found: np.ndarray = away / max(usual, _LEAST_USUAL)
    return found
