"""Which giant is taken: by what was measured where that can tell, else by what was expected."""

from __future__ import annotations

import numpy as np
import pytest

from components.judging import ranking
from components.judging.ranking import Candidate

COUNT = 300


def candidate(name: str, error: float, published: float | None) -> Candidate:
    """Off by 1 on a share of the examples, whichever way it is asked."""
    errors = np.roll(np.arange(COUNT) % 100 < 100 * error, 10 * len(name)).astype(float)
    knows = published is not None
    facts = {"knows": knows, "published": published, "weights": 1e6, "logme": None}
    return Candidate(name, facts, {"knn": errors, "last": errors})


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ((0.05, 0.06, 0.5), "large"),  # Within noise: the one that was published with more.
        ((0.05, 0.25, 0.5), "small"),
        ((0.06, 0.05, 0.5), "large"),
        ((0.05, 0.25, 0.0), "random"),  # Nobody expected it, and it is better beyond noise.
    ],
)
def test_what_was_to_be_expected_decides_within_noise(
    errors: tuple[float, float, float], chosen: str
) -> None:
    small, large, nothing = errors
    found = [
        candidate("small", small, 0.6),
        candidate("large", large, 0.8),
        candidate("random", nothing, None),
    ]
    assert ranking.chosen(found).name == chosen
    assert ranking.chosen(found) in ranking.finalists(found)
