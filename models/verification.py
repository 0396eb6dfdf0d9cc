"""Is it the same? Two examples are, where their vectors are as near as those of one class are.

The threshold is the one at which a stated share of pairs of different classes is accepted, and no
more, as in face verification (LFW: Huang et al. 2007). Pairs share examples, so that intervals come
from drawing the examples again, and not the pairs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# So many examples are paired at most.
_MOST, _DRAWS = 600, 200
_ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Matching:
    """When two examples are taken for the same.

    Attributes:
        threshold: the least cosine of their vectors.
        rate: the share of pairs of different classes that may be accepted.
        low: the share that is accepted of other examples of the kind is from here …
        high: … to here, 95 of 100 times.
        accepted: the share of pairs of one class that is.
        equal_error: the share of errors at the threshold where both kinds are as frequent.
        same: so many pairs of one class, and …
        different: … of two, that this is from.
    """

    threshold: float
    rate: float
    low: float
    high: float
    accepted: float
    equal_error: float
    same: int
    different: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def matching(vectors: np.ndarray, labels: np.ndarray, rate: float) -> Matching | None:
    """The threshold, by all pairs of some examples; None where there are none of either kind.

    Args:
        vectors: (examples, features) of length 1.
        labels: (examples,) numbers of classes, -1 for those without one.
        rate: of false accepts.
    """
    known = np.flatnonzero(labels >= 0)[:_MOST]
    cosines, alike, first, second = pairs(vectors[known], labels[known])
    if not alike.any() or alike.all():
        return None
    others = np.sort(cosines[~alike])
    # So high that no more than the rate is at it or above.
    allowed = int(np.floor(rate * len(others)))
    top = others[len(others) - allowed - 1]
    threshold = float(np.nextafter(top, np.inf))
    low, high = _interval(cosines[~alike], first[~alike], second[~alike], len(known), rate)
    return Matching(
        threshold=threshold,
        rate=rate,
        low=low,
        high=high,
        accepted=float((cosines[alike] >= threshold).mean()),
        equal_error=equal_error(cosines, alike),
        same=int(alike.sum()),
        different=int((~alike).sum()),
    )


def equal_error(cosines: np.ndarray, alike: np.ndarray) -> float:
    """The error where as many of one class are refused as of two are accepted.

    Args:
        cosines: (pairs,).
        alike: (pairs,), whether each is of one class.
    """
    order = np.argsort(cosines)
    refused = np.cumsum(alike[order]) / alike.sum()
    accepted = 1 - np.cumsum(~alike[order]) / (~alike).sum()
    at = int(np.argmin(np.abs(refused - accepted)))
    return float((refused[at] + accepted[at]) / 2)


def false_accepts(vectors: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """The share of pairs of different classes that a threshold accepts."""
    cosines, alike, _, _ = pairs(vectors, labels)
    return float((cosines[~alike] >= threshold).mean())


def pairs(
    vectors: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of all pairs: cosines, whether they are of one class, and which examples they are of."""
    first, second = np.triu_indices(len(labels), 1)
    products = np.asarray(vectors, np.float32) @ np.asarray(vectors, np.float32).T
    return products[first, second], labels[first] == labels[second], first, second


def _interval(
    cosines: np.ndarray, first: np.ndarray, second: np.ndarray, count: int, rate: float
) -> tuple[float, float]:
    """Of the share that a threshold accepts of pairs of examples that it was not found with.

    Found with examples that are drawn again, and asked about those that were not drawn.
    """
    dice, found = np.random.default_rng(0), []
    order = np.argsort(-cosines)
    one, other = first[order], second[order]
    for _ in range(_DRAWS):
        counts = np.bincount(dice.integers(0, count, count), minlength=count)
        inside = np.cumsum(counts[one] * counts[other])
        out = (counts[one] == 0) & (counts[other] == 0)
        if inside[-1] and out.any():
            accepted = int(np.searchsorted(inside, rate * inside[-1], side="right"))
            found.append(out[:accepted].sum() / out.sum())
    low, high = np.quantile(found, _ENDS) if found else (0.0, 1.0)
    return float(low), float(high)
