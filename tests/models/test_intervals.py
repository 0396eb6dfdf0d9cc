"""Intervals: what they are in closed form, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models import intervals


def test_a_share_of_all_is_not_certain() -> None:
    low, high = intervals.of_share(20, 20, 0.95)
    assert (round(low, 3), round(high, 3)) == (0.839, 1.0)
    assert intervals.of_share(0, 0, 0.95) == (0.0, 1.0)


def test_two_that_never_differ_may_differ() -> None:
    low, high = intervals.of_difference(0, 0, 100, 0.95)
    assert low == -high
    assert 0.01 < high < 0.03


@pytest.mark.parametrize(("only", "other"), [(10, 2), (40, 25), (0, 9)])
def test_the_closed_form_is_that_of_the_bootstrap(only: int, other: int) -> None:
    count = 400
    apart = np.zeros(count)
    apart[:only], apart[only : only + other] = 1, -1
    alike = np.zeros(count, np.int64)
    drawn = intervals.bootstrapped(lambda d: {"x": d @ apart / count}, count, alike)
    expected = intervals.of_draws(drawn["x"], apart.mean(), 0.95)
    np.testing.assert_allclose(
        intervals.of_difference(only, other, count, 0.95), expected, atol=6e-3
    )


def test_strata_keep_their_size_and_draws_are_the_same_again() -> None:
    strata = np.repeat([0, 1, 2], [50, 7, 3])

    def figures(draws: np.ndarray) -> dict[str, np.ndarray]:
        return {str(n): draws[:, strata == n].sum(axis=1) for n in range(3)} | {"0th": draws[:, 0]}

    one, again = (intervals.bootstrapped(figures, 60, strata) for _ in range(2))
    assert [set(one[str(n)]) for n in range(3)] == [{50}, {7}, {3}]
    assert one["0th"].std() > 0
    np.testing.assert_array_equal(one["0th"], again["0th"])


def test_of_many_examples_there_are_fewer_draws() -> None:
    drawn = intervals.bootstrapped(lambda d: {"x": d[:, 0]}, 500_000, np.zeros(500_000))
    assert 200 <= len(drawn["x"]) < 1000


def test_what_is_no_number_is_left_out() -> None:
    assert intervals.of_draws(np.array([1.0, np.nan, 1.0]), 1.0, 0.95) == (1.0, 1.0)
    assert intervals.of_draws(np.array([np.nan]), 1.0, 0.95) == (-np.inf, np.inf)


def test_of_an_area_covers_the_truth() -> None:
    """Two kinds, a deviation apart: the area is 0.76."""
    truth, held = float(stats.norm.cdf(1 / np.sqrt(2))), 0
    for seed in range(500):
        rng = np.random.default_rng(seed)
        ones, others = rng.normal(1, 1, 40), rng.normal(0, 1, 60)
        area = float((ones[:, None] > others).mean())
        low, high = intervals.of_area(area, 40, 60, 0.95)
        held += low <= truth <= high
    assert 0.92 <= held / 500 <= 0.98
