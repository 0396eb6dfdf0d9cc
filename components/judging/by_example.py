"""Two models by what is known of each of the very same examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.tasks.figures import CONFIDENCE, Comparison
from models import intervals

# What is known of each example, (examples,), by name; of a figure, of those that have an answer.
ByExample = Mapping[str, np.ndarray]


def compare(this: ByExample, other: ByExample) -> list[Comparison]:
    """The mean of each, and the interval of the difference, by what differs at each example.

    Args:
        this: of the same examples in the same order as `other`.
    """
    return [
        Comparison(
            name=name,
            count=len(values),
            value=float(values.mean()),
            other=float(other[name].mean()),
            low=low,
            high=high,
        )
        for name, values in this.items()
        if name in other
        for low, high in [_interval(values, other[name])]
    ]


def _interval(values: np.ndarray, others: np.ndarray) -> intervals.Interval:
    apart, count = values.astype(np.float64) - others, len(values)
    if not {*np.unique(values), *np.unique(others)} - {0.0, 1.0}:
        return intervals.of_difference(
            int((apart > 0).sum()), int((apart < 0).sum()), count, CONFIDENCE
        )
    drawn = intervals.bootstrapped(
        lambda counts: {"": counts @ apart / count}, count, np.zeros(count, np.int64)
    )
    return intervals.of_draws(drawn[""], float(apart.mean()), CONFIDENCE)
