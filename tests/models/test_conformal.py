"""Prediction sets hold the truth as often as they promise, and are those of MAPIE."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.regression import SplitConformalRegressor
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from models import conformal

CLASSES = 4


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, classes) of a model that is too sure of itself, and (count,) of truths."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, CLASSES)) * 1.5
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(CLASSES, p=row) for row in exact])
    sure = np.exp(2 * logits)
    return sure / sure.sum(axis=1, keepdims=True), truth


class Said(ClassifierMixin, RegressorMixin, BaseEstimator):
    """An estimator for which what it says is given as the features."""

    def __init__(self, kind: str = "classifier") -> None:
        self.kind = kind
        self.classes_ = np.arange(CLASSES)
        self.is_fitted_ = True

    def fit(self, *_: Any) -> Said:
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return features

    def predict(self, features: np.ndarray) -> np.ndarray:
        found: np.ndarray = features[:, 0] if self.kind == "regressor" else features.argmax(axis=1)
        return found


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("count", [40, 333])
def test_the_sets_are_those_of_mapie(coverage: float, count: int) -> None:
    calibration, truth = drawn(1, count)
    others, _ = drawn(2, 200)
    oracle = SplitConformalClassifier(Said(), confidence_level=coverage, conformity_score="lac")
    oracle.conformalize(calibration, truth)
    _, sets = oracle.predict_set(others)
    ours = others >= 1 - conformal.reach_of_classes(calibration, truth, coverage)
    np.testing.assert_array_equal(ours, sets[:, :, 0])


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_the_intervals_are_those_of_mapie(coverage: float) -> None:
    rng = np.random.default_rng(0)
    said = rng.normal(size=(150, 1)) * 5
    truth = said[:, 0] + rng.standard_t(3, size=150)
    oracle = SplitConformalRegressor(Said("regressor"), confidence_level=coverage)
    oracle.conformalize(said, truth)
    _, ends = oracle.predict_interval(np.array([[0.0], [7.0]]))
    reach = conformal.reach_of_numbers(truth - said[:, 0], coverage)
    np.testing.assert_allclose(ends[:, :, 0], [[-reach, reach], [7 - reach, 7 + reach]], rtol=1e-9)


def test_they_hold_what_they_promise_over_twenty_splits() -> None:
    """All 4000 answers together are within what is chance at a coverage that is exact."""
    held = []
    for seed in range(20):
        probabilities, truth = drawn(seed, 700)
        reach = conformal.reach_of_classes(probabilities[:500], truth[:500], 0.9)
        right = np.take_along_axis(probabilities[500:], truth[500:, None], axis=1)[:, 0]
        held.append((right >= 1 - reach).mean())
    low, high = stats.binom.interval(0.99, 4000, 0.9)
    assert low / 4000 <= np.mean(held) <= high / 4000


def test_too_few_promise_nothing_but_all() -> None:
    assert conformal.quantile(np.arange(8.0), 0.9) == math.inf
    assert conformal.quantile(np.arange(9.0), 0.9) == 8.0
    probabilities, truth = drawn(0, 8)
    assert conformal.reach_of_classes(probabilities, truth, 0.9) == 1.0
