"""Examples that were judged, as tallies: each figure from how often each example counts.

So a figure, its interval and a difference of two models come from one function; tests hold each to
scikit-learn's or SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.tasks.protocol import Tally

with epy.lazy_imports():
    from scipy import sparse


def of_classes(truth: np.ndarray, given: np.ndarray, probabilities: np.ndarray) -> Tally:
    """
    Args:
        truth: (examples,), numbers of classes.
        given: (examples,), the same; as many as there are classes for what is none of them.
        probabilities: (examples, classes).
    """
    count, classes = probabilities.shape
    right = truth == given
    surprise = -np.log(probabilities[np.arange(count), truth])

    def by_class(numbers: np.ndarray, counts: np.ndarray) -> Any:
        """(examples, classes) of 0 and 1, nearly all 0."""
        shape = (count, classes + 1)
        return sparse.csr_array((counts * 1.0, (np.arange(count), numbers)), shape)[:, :classes]

    hits, there, said = (
        by_class(truth, right),
        by_class(truth, right | True),
        by_class(given, right | True),
    )

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        total = draws.sum(axis=1)
        hit, support, named = draws @ hits, draws @ there, draws @ said
        recall = hit / np.maximum(support, 1)
        f1 = 2 * hit / np.maximum(support + named, 1)
        return {
            "accuracy": draws @ right / total,
            "log_loss": draws @ surprise / total,
            "least_recall": recall.min(axis=1),
            "macro_f1": f1.mean(axis=1),
        }

    return Tally(count, figures, {"accuracy": right}, {"least_recall": right}, truth)


def of_labels(truth: np.ndarray, named: np.ndarray, probabilities: np.ndarray) -> Tally:
    """All (examples, labels): which labels there are, which are given, and how probable each is."""
    count, labels = truth.shape
    truth, named = truth.astype(np.float64), named.astype(np.float64)
    right, exact = truth * named, (truth == named).all(axis=1)
    ranked = [_Ranked.of(truth[:, i], probabilities[:, i]) for i in range(labels)]

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        hits, said_so, there = draws @ right, draws @ named, draws @ truth
        areas = [each.areas(draws) for each in ranked]
        return {
            "auroc": _mean([area for area, _ in areas]),
            "average_precision": _mean([precision for _, precision in areas]),
            "macro_f1": (2 * hits / np.maximum(said_so + there, 1.0)).mean(axis=1),
            "micro_f1": 2 * hits.sum(axis=1) / np.maximum((said_so + there).sum(axis=1), 1.0),
            "exact_match": draws @ exact / draws.sum(axis=1),
        }

    alike = np.zeros(count, np.int64)
    return Tally(count, figures, {"exact_match": exact}, {}, alike, width=labels)


@dataclass(frozen=True)
class _Ranked:
    """Examples by how probable a label is, the most probable first.

    Attributes:
        order: (examples,).
        starts: where what is less probable begins: what is equally probable cannot be told apart.
        there: (examples,), in that order, whether they have the label.
    """

    order: np.ndarray
    starts: np.ndarray
    there: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, probabilities: np.ndarray) -> _Ranked:
        order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[order]
        starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        return cls(order, starts, truth[order])

    def areas(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(draws,) of AUROC and of average precision; NaN where all examples are alike."""
        counts = draws[:, self.order]
        positive = np.add.reduceat(counts * self.there, self.starts, axis=1)
        negative = np.add.reduceat(counts * (1 - self.there), self.starts, axis=1)
        hits, misses = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Each positive one is before the negative ones below it, and halfway at its own.
            below = misses[:, -1:] - misses + negative / 2
            area = (positive * below).sum(axis=1) / (hits[:, -1] * misses[:, -1])
            precision = hits / np.maximum(hits + misses, 1)
            average = (positive * precision).sum(axis=1) / hits[:, -1]
        return area, np.where(np.isfinite(area), average, np.nan)


def _mean(of_labels: list[np.ndarray]) -> np.ndarray:
    """(draws,), over labels that can be told of; one half where there is none."""
    every = np.array(of_labels)
    known = np.isfinite(every)
    total = np.where(known, every, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), 0.5)


def of_numbers(truth: np.ndarray, given: np.ndarray) -> Tally:
    """Of (examples,) of true and of given numbers."""
    off, apart = np.abs(truth - given), truth - truth.mean()
    unit = float(np.abs(apart).max()) or 1.0  # So that little is lost to rounding.
    squared, apart = np.square(off / unit), apart / unit
    of_truth, of_given = _ranker(truth), _ranker(given)

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        total = draws.sum(axis=1)
        error, middle = draws @ squared / total, draws @ apart / total
        spread = draws @ np.square(apart) / total - np.square(middle)
        return {
            "mae": draws @ off / total,
            "rmse": unit * np.sqrt(error),
            "r2": _ratio(spread - error, spread),
            "spearman": _correlation(draws, of_truth(draws), of_given(draws)),
        }

    return Tally(len(truth), figures, {}, {}, np.zeros(len(truth), np.int64))


def _ranker(numbers: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """(draws, examples) of how often each counts → their ranks; those alike share the mean one."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    new = np.append(True, ordered[1:] != ordered[:-1])
    starts, group = np.flatnonzero(new), np.empty(len(numbers), np.int64)
    group[order] = np.cumsum(new) - 1

    def ranks(draws: np.ndarray) -> np.ndarray:
        sizes = np.add.reduceat(draws[:, order], starts, axis=1)
        found: np.ndarray = (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, group]
        return found

    return ranks


def _correlation(draws: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(draws,), of what has been drawn."""
    total = draws.sum(axis=1, keepdims=True)
    one, other = (x - (draws * x).sum(axis=1, keepdims=True) / total for x in (one, other))
    both = (draws * one * other).sum(axis=1)
    each = [(draws * np.square(x)).sum(axis=1) for x in (one, other)]
    return _ratio(both, np.sqrt(each[0] * each[1]))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where nothing varies."""
    return np.where(below > 1e-12, above / np.where(below > 1e-12, below, 1.0), 0.0)
