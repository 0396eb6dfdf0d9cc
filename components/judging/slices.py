"""Parts of the test examples, each judged by itself: the dark pictures, the long texts.

What is worse there than on the whole is named where that is no chance, however many parts are
looked at: intervals are as wide as Bonferroni's correction makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from components.tasks.figures import CONFIDENCE
from components.tasks.protocol import Figure, Tally
from models import intervals

# Of fewer examples nothing is said; of more values than this, those that are no numbers are no
# parts.
_FEWEST, _MOST_VALUES = 10, 20
_PARTS = 4

Facts = Mapping[str, Any]


def rows(
    tally: Tally, name: str, figure: Figure, facts: Sequence[Facts], names: Sequence[str]
) -> list[dict[str, Any]]:
    """`slice`, `part`, `count`, `value`, `low`, `high` and whether it is `worse` than the whole.

    Args:
        name: of the figure, a key of the tally's.
        facts: of each example; those called `names` are looked at.
    """
    found = [part for each in names for part in parts(each, [row.get(each) for row in facts])]
    sure = 1 - (1 - CONFIDENCE) / max(1, len(found))
    whole = tally.once()[name]
    told = []
    for title, part, inside in found:
        value, (low, high), ends = _judged(tally, name, inside, sure)
        best = max(figure.gain(end - whole, whole) for end in ends)
        told.append(
            {
                "slice": title,
                "part": part,
                "count": len(inside),
                "value": value,
                "low": low,
                "high": high,
                "worse": best < 0,
            }
        )
    return told


def parts(name: str, values: list[Any]) -> Iterator[tuple[str, str, np.ndarray]]:
    """(name, which part, the examples in it): quarters of numbers, or each of a few values."""
    values = _as_numbers(values)
    known = np.array([i for i, value in enumerate(values) if value is not None], int)
    kept = [values[i] for i in known]
    distinct = sorted(set(kept), key=str)
    is_number = all(isinstance(value, int | float) for value in kept)
    if is_number and len(distinct) > _PARTS:
        numbers = np.array(kept, np.float64)
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _PARTS + 1)))
        at = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
        groups = {
            f"{numbers[at == part].min():g} to {numbers[at == part].max():g}": known[at == part]
            for part in range(len(edges) - 1)
            if (at == part).any()
        }
    elif 1 < len(distinct) <= _MOST_VALUES:
        same = np.array([distinct.index(value) for value in kept])
        groups = {_plainly(value): known[same == n] for n, value in enumerate(distinct)}
    else:
        return
    for part, inside in groups.items():
        if len(inside) >= _FEWEST:
            yield name.replace("_", " "), part, inside


def _plainly(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_numbers(values: list[Any]) -> list[Any]:
    """The cells of a table's column as numbers, where all are; an empty one is none."""
    values = [None if value in ("", "nan", "NaN") else value for value in values]
    if not any(isinstance(value, str) for value in values):
        return values
    try:
        return [None if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        return values


def _judged(
    tally: Tally, name: str, inside: np.ndarray, sure: float
) -> tuple[float, intervals.Interval, intervals.Interval]:
    """The figure of some examples, its interval, and one that is wider."""

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        every = np.zeros((len(draws), tally.count))
        every[:, inside] = draws
        return {name: tally.figures(every)[name]}

    value = float(figures(np.ones((1, len(inside))))[name][0])
    if name in tally.shares:
        right = int(tally.shares[name][inside].sum())
        both = [intervals.of_share(right, len(inside), c) for c in (CONFIDENCE, sure)]
    else:
        width = max(1, tally.width * tally.count // len(inside))
        strata = tally.strata[inside]
        drawn = intervals.bootstrapped(figures, len(inside), strata, width=width)[name]
        both = [intervals.of_draws(drawn, value, c) for c in (CONFIDENCE, sure)]
    return value, both[0], both[1]
