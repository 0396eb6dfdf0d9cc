"""Scores of frozen features: neighbours, class means, LogME, how far from what was learned."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from models import domain, logme, neighbours, prototypes


def clusters(count: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(examples, 8) around three centers, and (examples, 3) which."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centers = np.eye(3, 8) * apart
    return centers[labels] + rng.standard_normal((count, 8)), np.eye(3)[labels]


def products(features: np.ndarray) -> np.ndarray:
    centered = features - features.mean(axis=0)
    return np.asarray(centered @ centered.T)


def test_neighbours_never_are_the_example_itself() -> None:
    features, targets = clusters(60, 8.0)
    ones = np.ones(60)
    said = neighbours.said(products(features), targets, ones)
    np.testing.assert_allclose(said.sum(axis=1), 1.0, rtol=1e-6)
    assert (said.argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.95
    noise = np.random.default_rng(1).permutation(60)
    guessed = neighbours.said(products(features), targets[noise], ones)
    assert (guessed.argmax(axis=1) == targets[noise].argmax(axis=1)).mean() < 0.6


def test_who_has_no_answer_is_nobodys_neighbour() -> None:
    features, targets = clusters(30, 8.0)
    weights = np.ones(30)
    weights[:15] = 0.0
    wrong = targets.copy()
    wrong[:15] = 1.0
    said = neighbours.said(products(features), wrong, weights)
    np.testing.assert_allclose(said.sum(axis=1), 1.0, rtol=1e-6)
    alone = neighbours.said(products(features[:1]), targets[:1], np.ones(1))
    np.testing.assert_array_equal(alone, targets[:1])


@pytest.mark.parametrize("ball", [np.inf, 0.03])
def test_leaving_out_is_what_fitting_without_would_say(
    ball: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prototypes, "_BALLS", (ball,))
    features, targets = clusters(12, 3.0)
    found = prototypes.fit(features, targets, np.ones(12))
    statistics, shrink = found.statistics, found.shrink
    vectors = statistics.units(features)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    for row in range(12):
        kept = np.arange(12) != row
        # Standardized by all, and the mean of all has it: as the others' means do, too.
        means = statistics.centers(shrink)
        own = int(targets[row].argmax())
        its = targets[kept, own]
        sums = its @ vectors[kept] + shrink * statistics.whole
        means[own] = sums / (its.sum() + shrink)
        covariance = vectors[kept].T @ vectors[kept] / 12
        counts = np.linalg.inv(np.eye(len(covariance)) + covariance / ball)
        logits = vectors[row] @ counts @ means.T - 0.5 * ((means @ counts) * means).sum(axis=1)
        powers = np.exp(found.sharpness * (logits - logits.max()))
        np.testing.assert_allclose(found.said[row], powers / powers.sum(), rtol=1e-6)


def test_what_all_classes_vary_in_counts_less() -> None:
    """Two classes apart along a narrow axis, both wide along another: nearest means fail there."""
    rng = np.random.default_rng(0)
    truth = np.arange(400) % 2
    narrow = 0.1 * rng.standard_normal(400) + 0.3 * (truth - 0.5)
    features = rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12))
    features = features + narrow[:, None] * np.ones(12)
    right = {}
    for balls in ((np.inf,), prototypes._BALLS):
        prototypes_of = _fitted_with(balls)
        found = prototypes_of(features[:200], np.eye(2)[truth[:200]], np.ones(200))
        said = found.linear()(found.statistics.units(features[200:]))
        right[balls[-1]] = float((said.argmax(axis=1) == truth[200:]).mean())
    plain, shared = right.values()
    assert shared > plain + 0.1


def _fitted_with(balls: tuple[float, ...]) -> Any:
    def fit(*given: Any) -> prototypes.Prototypes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prototypes, "_BALLS", balls)
            return prototypes.fit(*given)

    return fit


def test_class_means_need_one_example_of_each() -> None:
    features, targets = clusters(3, 6.0)
    found = prototypes.fit(features, targets, np.ones(3))
    head = found.linear()
    more, truth = clusters(90, 6.0, seed=1)
    right = head(found.statistics.units(more)).argmax(axis=1) == truth.argmax(axis=1)
    assert right.mean() > 0.8


def test_logme_is_the_evidence_of_bayesian_regression() -> None:
    """Against the multivariate normal density of the targets, at its best two precisions."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 5))
    target = features @ rng.standard_normal(5) + 0.5 * rng.standard_normal(40)
    found = logme.logme(features, target[:, None])

    def density(alpha: float, beta: float) -> float:
        covariance = np.eye(40) / beta + features @ features.T / alpha
        _, determinant = np.linalg.slogdet(2 * np.pi * covariance)
        return float(-(determinant + target @ np.linalg.solve(covariance, target)) / 80)

    best = max(density(a, b) for a in np.geomspace(0.05, 50, 60) for b in np.geomspace(0.2, 50, 60))
    assert found == pytest.approx(best, abs=2e-3)
    assert logme.logme(features, rng.standard_normal((40, 1))) < found


def test_how_far_data_is_from_what_a_network_remembers() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 3)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.0)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    network = keras.Model(inputs, x)
    seen = np.random.default_rng(0).standard_normal((64, 8, 8, 3)).astype(np.float32)
    network(seen, training=True)
    near, far = domain.distance(network, seen), domain.distance(network, 4 * seen)
    assert near is not None
    assert far is not None
    assert near < 0.05 < 2.0 < far
    assert (domain.place(near), domain.place(0.5), domain.place(far)) == (
        *("near", "some way off", "far"),
    )
    plain = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    assert domain.distance(plain, seen) is None
