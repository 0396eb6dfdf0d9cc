"""Intervals for figures: closed forms for shares of examples, and the bootstrap for all else.

What is compared is compared on the same examples: an interval of a difference comes from what
differs between two models, example by example, and not from two intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from etils import epy

with epy.lazy_imports():
    from scipy import stats

Interval = tuple[float, float]
# (draws, examples) of how often each example counts → each figure, (draws,).
Figures = Callable[[np.ndarray], Mapping[str, np.ndarray]]

# Draws, and how many numbers may be looked at in all of them; but never fewer than so many draws.
DRAWS, _WORK, _LEAST = 1000, 200_000_000, 200
# Numbers in a matrix of draws.
_AT_ONCE = 4_000_000
# No share of the draws is nearer to 0 or 1 than this, as far as anybody can know.
_EDGE = 1e-3


def of_share(right: int, count: int, confidence: float) -> Interval:
    """Of a share of examples: the score interval of Wilson 1927 (JASA 22:209)."""
    if not count:
        return 0.0, 1.0
    found = stats.binomtest(right, count).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def of_difference(only_this: int, only_other: int, count: int, confidence: float) -> Interval:
    """Of the difference of two shares of the same examples: Agresti & Min 2005.

    Wald's interval after half an example was added to each of the four cells of the table
    (Statistics in Medicine 24:729): it is not of no width where two models never differ.

    Args:
        only_this: examples that count in the first share alone; and in the other one.
    """
    whole = count + 2
    middle = (only_this - only_other) / whole
    differ = (only_this + only_other + 1) / whole
    wide = _quantile(confidence) * math.sqrt(max(differ - middle**2, 0.0) / whole)
    return max(middle - wide, -1.0), min(middle + wide, 1.0)


def _quantile(confidence: float) -> float:
    return float(stats.norm.ppf(0.5 + confidence / 2))


def bootstrapped(
    figures: Figures, count: int, strata: np.ndarray, *, width: int = 1, seed: int = 0
) -> dict[str, np.ndarray]:
    """Each figure, (draws,), of examples drawn with replacement (Efron 1979).

    Args:
        strata: (examples,), the number of the stratum that each is in: each keeps its size.
        width: how many numbers an example comes to: where there are many, draws are fewer.
    """
    draws = int(np.clip(_WORK // max(1, count * width), _LEAST, DRAWS))
    parts: dict[str, list[np.ndarray]] = {}
    for some in _draws(count, strata, draws, seed):
        for name, values in figures(some).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _draws(count: int, strata: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """(some draws, examples) of how often each was drawn."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == number) for number in np.unique(strata)]
    at_once = max(1, _AT_ONCE // max(1, count))
    for start in range(0, draws, at_once):
        some = min(at_once, draws - start)
        counts = np.zeros((some, count))
        for group in groups:
            drawn = rng.integers(len(group), size=(some, len(group)))
            drawn += np.arange(some)[:, None] * len(group)
            flat = np.bincount(drawn.ravel(), minlength=some * len(group))
            counts[:, group] = flat.reshape(some, len(group))
        yield counts


def of_draws(values: np.ndarray, estimate: float, confidence: float) -> Interval:
    """Of a figure, by what was drawn of it: Efron's bias-corrected percentiles (1981).

    Where most draws are below the estimate, so it is itself below the truth: the least recall of
    a few classes is always too low. What is not a number is left out.

    Args:
        values: (draws,).
        estimate: the figure of the examples as they are.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return -math.inf, math.inf
    below = ((known < estimate).mean() + (known <= estimate).mean()) / 2
    bias = float(stats.norm.ppf(np.clip(below, _EDGE, 1 - _EDGE)))
    wide = _quantile(confidence)
    ends = stats.norm.cdf([2 * bias - wide, 2 * bias + wide])
    low, high = np.quantile(known, ends)
    return float(low), float(high)


def of_least_share(right: np.ndarray, strata: np.ndarray, confidence: float) -> Interval:
    """Of the least share over strata, by Bonferroni's: each has an interval that is wider.

    Args:
        right: (examples,) of bool; and `strata`, of the stratum's number.
    """
    numbers = np.unique(strata)
    each = 1 - (1 - confidence) / len(numbers)
    inside = [right[strata == number] for number in numbers]
    ends = [of_share(int(part.sum()), len(part), each) for part in inside]
    return min(low for low, _ in ends), min(high for _, high in ends)


def of_area(area: float, ones: int, others: int, confidence: float) -> Interval:
    """Of an area under the ROC curve: Hanley & McNeil 1982 (Radiology 143).

    Args:
        ones: how many examples are of the one kind, and `others`, of the other.
    """
    both = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (ones - 1) * (both[0] - area**2) + (others - 1) * (both[1] - area**2)
    ) / (ones * others)
    wide = _quantile(confidence) * math.sqrt(max(variance, 0.0))
    return max(0.0, area - wide), min(1.0, area + wide)
