"""What the summaries of all modalities are made with."""

from __future__ import annotations

from collections import Counter


def spread(values: Counter[int]) -> list[int]:
    """Least, median (the upper of two) and greatest of values and how often each occurs."""
    middle, passed = values.total() // 2, 0
    for value in sorted(values):
        passed += values[value]
        if passed > middle:
            return [min(values), value, max(values)]
    raise ValueError("there must be a value, got none")
