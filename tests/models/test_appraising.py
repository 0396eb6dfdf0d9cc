"""Scores of frozen features: neighbours, class means, LogME, how far from what was learned."""

from __future__ import annotations

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


def test_leaving_out_is_what_fitting_without_would_say() -> None:
    features, targets = clusters(12, 3.0)
    ones = np.ones(12)
    found = prototypes.fit(features, targets, ones)
    statistics = found.statistics
    vectors = statistics.units(features)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    for row in range(12):
        kept = np.arange(12) != row
        counts = targets[kept].sum(axis=0)
        whole = vectors.mean(axis=0)
        sums = targets[kept].T @ vectors[kept] + found.shrink * whole
        means = sums / (counts + found.shrink)[:, None]
        # The others' means have it in the mean of all, as they are not fitted anew.
        own = int(targets[row].argmax())
        logits = vectors[row] @ means.T - 0.5 * np.square(means).sum(axis=1)
        centers = statistics.centers(found.shrink)
        rest = vectors[row] @ centers.T - 0.5 * np.square(centers).sum(axis=1)
        rest[own] = logits[own]
        powers = np.exp(found.sharpness * (rest - rest.max()))
        np.testing.assert_allclose(found.said[row], powers / powers.sum(), rtol=1e-6)


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
