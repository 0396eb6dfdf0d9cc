"""Stored features as a solver sees them: standardized, in memory or read again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from etils import epy

with epy.lazy_imports():
    import scipy.linalg

# (examples, features), some examples after the others.
Chunks = Callable[[], Iterable[np.ndarray]]

# Eigenvalues below this share of the greatest are rounding of features of float32.
_RANK = 1e-7
# A feature that varies less than this share of the mean is not blown up to the others' size.
_LEAST = 1e-3


@dataclass(frozen=True)
class Scale:
    """What standardizes features: (features,) each."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, chunks: Iterable[np.ndarray]) -> Scale:
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for chunk in chunks:
            wide = chunk.astype(np.float64)
            count += len(wide)
            total = total + wide.sum(axis=0)
            squares = squares + np.square(wide).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
        return cls(mean, deviation + _LEAST * max(float(deviation.mean()), 1e-12))

    def weighed(self, weights: np.ndarray) -> Scale:
        """The same where each feature counts as much as (features,) `weights` say."""
        return Scale(self.mean, self.deviation / weights)

    def softened(self) -> Scale:
        """The same with the usual deviation added to each, which few examples do not know."""
        return Scale(self.mean, self.deviation + self.deviation.mean())

    def __call__(self, chunk: np.ndarray) -> np.ndarray:
        """Standardized, weighed, and divided by the square root of their number; float32."""
        root = np.sqrt(len(self.mean))
        found: np.ndarray = ((chunk - self.mean) / (self.deviation * root)).astype(np.float32)
        return found


class Design(Protocol):
    """Features as a solver sees them, in coordinates of its own."""

    @property
    def curvature(self) -> np.ndarray:
        """(coordinates,), the mean square of each."""

    def dot(self, kernel: np.ndarray) -> np.ndarray:
        """(coordinates, outputs) → (examples, outputs)."""

    def back(self, slopes: np.ndarray) -> np.ndarray:
        """(examples, outputs) → (coordinates, outputs), the transposed product."""


@dataclass(frozen=True)
class Dense:
    """A design that is an array, (examples, coordinates), of float32: with many outputs it is
    multiplying that takes the time, and what is found is the same to six digits."""

    array: np.ndarray

    @classmethod
    def of(cls, coordinates: np.ndarray) -> Dense:
        return cls(np.ascontiguousarray(coordinates, np.float32))

    @cached_property
    def curvature(self) -> np.ndarray:
        return np.asarray(np.square(self.array).mean(axis=0), np.float64)

    def dot(self, kernel: np.ndarray) -> np.ndarray:
        return np.asarray(self.array @ kernel.astype(np.float32), np.float64)

    def back(self, slopes: np.ndarray) -> np.ndarray:
        return np.asarray(self.array.T @ slopes.astype(np.float32), np.float64)


@dataclass(frozen=True)
class Streamed:
    """A design that is read again for every product: more than fits the memory.

    Attributes:
        chunks: of the features, standardized.
        curvature: see `Design`.
        axes: (features, coordinates) from the coordinates back to features; None for the same.
    """

    chunks: Chunks
    curvature: np.ndarray
    axes: np.ndarray | None = None

    def dot(self, kernel: np.ndarray) -> np.ndarray:
        own = kernel if self.axes is None else self.axes @ kernel
        narrow = own.astype(np.float32)
        return np.concatenate([chunk @ narrow for chunk in self.chunks()]).astype(np.float64)

    def back(self, slopes: np.ndarray) -> np.ndarray:
        narrow, start, found = slopes.astype(np.float32), 0, np.zeros(1)
        for chunk in self.chunks():
            found = found + chunk.T @ narrow[start : start + len(chunk)]
            start += len(chunk)
        return np.asarray(found if self.axes is None else self.axes.T @ found)


def axes(kernel_matrix: np.ndarray) -> np.ndarray:
    """(examples, examples) of products of examples → their coordinates, (examples, rank)."""
    values, vectors = scipy.linalg.eigh(kernel_matrix, overwrite_a=True, check_finite=False)
    kept = values > max(values[-1], 1e-30) * _RANK
    found: np.ndarray = vectors[:, kept] * np.sqrt(values[kept])
    return found


def coordinates(array: np.ndarray, most: int) -> np.ndarray:
    """(examples, features), standardized → coordinates whose products are about theirs, at most so
    many for each: exactly theirs of no more examples, or features, than that; else those of a
    sample span the axes (Nyström's method: Williams & Seeger 2001)."""
    examples, features = array.shape
    if examples <= most:
        return axes(np.asarray(array @ array.T, np.float64))
    if features <= most:
        _, vectors = scipy.linalg.eigh(np.asarray(array.T @ array, np.float64), overwrite_a=True)
        return np.asarray(array @ vectors.astype(np.float32))
    some = array[np.linspace(0, examples - 1, most).astype(int)]
    own = axes(np.asarray(some @ some.T, np.float64))
    back = some.T @ (own / np.square(own).sum(axis=0)).astype(np.float32)
    return np.asarray(array @ back)
