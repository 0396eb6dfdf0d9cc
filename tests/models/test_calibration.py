"""Temperatures: found again where they are known, and left alone where nothing speaks for one."""

from __future__ import annotations

import numpy as np
import pytest

from models import calibration


def made(count: int, sharper: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are `sharper` times as great as they should be, and the truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 3)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(3, p=row) for row in shares])
    return calibration.scaled(shares, 1 / sharper), truth


@pytest.mark.parametrize("sharper", [0.5, 2.0, 4.0])
def test_the_temperature_is_found_again(sharper: float) -> None:
    shares, truth = made(4000, sharper)
    found = calibration.temperature_of_classes(shares, truth)
    assert found == pytest.approx(sharper, rel=0.1)
    after = calibration.scaled(shares, found)
    right = after.argmax(axis=1) == truth
    error = calibration.expected_error(after.max(axis=1), right)
    assert error < calibration.expected_error(shares.max(axis=1), right)
    assert error < calibration.least_error(after.max(axis=1))[1]


def test_where_nothing_speaks_for_one_it_is_left_alone() -> None:
    shares, truth = made(60, 1.0)
    assert calibration.temperature_of_classes(shares, truth) == 1.0
    assert calibration.scaled(shares, 1.0) is shares
    assert calibration.temperature_of_classes(shares[:1], truth[:1]) == 1.0


@pytest.mark.parametrize("sure", [0.6, 0.95, 0.9999])
def test_where_all_of_a_few_are_right_it_is_no_surer_than_that_allows(sure: float) -> None:
    """Twenty of twenty are no ground for saying 1 - 1e-33."""
    shares = np.tile([sure, 1 - sure], (20, 1))
    found = calibration.temperature_of_classes(shares, np.zeros(20, np.int64))
    assert calibration.scaled(shares, found)[0, 0] == pytest.approx(max(21 / 22, sure), abs=0.01)


def test_labels_of_themselves_have_one_each() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 2)) * 2
    truth = rng.random((4000, 2)) < 1 / (1 + np.exp(-logits))
    shares = 1 / (1 + np.exp(-logits * [3.0, 1.0]))
    for column, expected in ((0, 3.0), (1, 1.0)):
        found = calibration.temperature_of_label(shares[:, column], truth[:, column])
        assert found == pytest.approx(expected, rel=0.1)
    back = calibration.scaled_each(
        calibration.scaled_each(shares, np.array([2.0, 0.5])), np.array([0.5, 2.0])
    )
    np.testing.assert_allclose(back, shares, atol=1e-4)


def test_a_diagram_tells_of_every_answer() -> None:
    rows = calibration.bins(np.array([0.05, 0.06, 0.95, 1.0]), np.array([0, 0, 1, 0]))
    assert [row["count"] for row in rows] == [2, 2]
    assert [row["right"] for row in rows] == [0.0, 0.5]
