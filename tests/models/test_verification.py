"""Whether two are the same: a threshold at a stated share of false accepts."""

from __future__ import annotations

import numpy as np
import pytest

from models import verification


def vectors(count: int, noise: float, seed: int = 0, classes: int = 8) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centers = np.random.default_rng(99).standard_normal((classes, 32))
    found = centers[labels] + noise * rng.standard_normal((count, 32))
    return found / np.linalg.norm(found, axis=1, keepdims=True), labels


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_no_more_is_accepted_than_was_stated(rate: float) -> None:
    known, labels = vectors(200, 1.0)
    found = verification.matching(known, labels, rate)
    assert found is not None
    own = verification.false_accepts(known, labels, found.threshold)
    assert rate - 0.005 < own <= rate
    assert found.low <= own <= found.high
    held = 0
    for seed in range(1, 11):
        others, truth = vectors(200, 1.0, seed)
        held += (
            found.low <= verification.false_accepts(others, truth, found.threshold) <= found.high
        )
    assert held >= 8
    assert found.accepted > 0.5
    assert found.same + found.different == 200 * 199 // 2


def test_the_equal_error() -> None:
    clear, labels = vectors(100, 0.1)
    found = verification.matching(clear, labels, 0.01)
    assert found is not None
    assert found.equal_error < 0.01
    rng = np.random.default_rng(0)
    assert verification.equal_error(rng.random(20_000), rng.random(20_000) < 0.3) == pytest.approx(
        0.5, abs=0.02
    )


def test_nothing_can_be_said_without_pairs_of_both_kinds() -> None:
    known, _ = vectors(10, 1.0)
    assert verification.matching(known, np.zeros(10, int), 0.01) is None
    assert verification.matching(known, np.arange(10), 0.01) is None
    labels = np.array([0, 0, 1, *[-1] * 7])
    found = verification.matching(known, labels, 0.01)
    assert found is not None
    assert (found.same, found.different) == (1, 2)
