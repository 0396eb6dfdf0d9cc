"""Linear heads: the losses are those of training, and what is found is the least there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression, Ridge

from models import designs, linear, objectives, slopes
from models.designs import Scale
from models.linear import Fit, Question

POSITIVE = np.array([1.0, 3.0, 0.5])
LOSSES: dict[str, tuple[Callable[..., Any], slopes.Slope, linear.Activation]] = {
    "one label": (objectives.classification(), slopes.classification(), "softmax"),
    "smoothed": (
        objectives.classification(label_smoothing=0.2),
        slopes.classification(label_smoothing=0.2),
        "softmax",
    ),
    "focal": (
        objectives.classification(focal_gamma=2.0),
        slopes.classification(focal_gamma=2.0),
        "softmax",
    ),
    "several labels": (
        objectives.multi_label(positive_weights=None),
        slopes.multi_label(),
        "sigmoid",
    ),
    "all of several labels": (
        objectives.multi_label(label_smoothing=0.1, focal_gamma=1.5, positive_weights=POSITIVE),
        slopes.multi_label(label_smoothing=0.1, focal_gamma=1.5, positive_weights=POSITIVE),
        "sigmoid",
    ),
    "number": (objectives.squared, slopes.squared, "linear"),
    "number, Huber": (objectives.huber(0.7), slopes.huber(0.7), "linear"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_slope_are_those_that_are_trained_with(name: str) -> None:
    theirs, ours, activation = LOSSES[name]
    rng = np.random.default_rng(0)
    truth = {
        "softmax": np.eye(3)[rng.integers(0, 3, 16)],
        "sigmoid": rng.integers(0, 2, (16, 3)).astype(float),
        "linear": rng.normal(size=(16, 3)),
    }[activation].astype("float32")
    said = linear.activated(rng.normal(size=(16, 3)) * 2, activation).astype("float32")
    given = tf.constant(said)
    with tf.GradientTape() as tape:
        tape.watch(given)
        expected = theirs(tf.constant(truth), given)
    losses, slope = ours(truth.astype(float), said.astype(float))
    np.testing.assert_allclose(losses, expected.numpy(), rtol=1e-4, atol=1e-6)
    wanted = tape.gradient(expected, given).numpy()
    if activation == "softmax":
        # Keras divides what it is given by its sum, whose slope adds the same to all.
        wanted, slope = (each - (each * said).sum(1, keepdims=True) for each in (wanted, slope))
    np.testing.assert_allclose(slope, wanted, rtol=1e-3, atol=1e-5)


def features(examples: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of many sizes, and the class of each example."""
    rng = np.random.default_rng(1)
    array = rng.normal(size=(examples, width)) * rng.uniform(0.01, 10, width) + 3
    known = (array[:, 0] - 3) / array[:, 0].std() + 0.5 * rng.normal(size=examples)
    return array.astype("float32"), np.digitize(known, [-0.5, 0.5])


def found(array: np.ndarray, question: Question, strength: float, chunk: int = 10_000) -> Fit:
    def chunks() -> list[np.ndarray]:
        return [array[start : start + chunk] for start in range(0, len(array), chunk)]

    with linear.one_thread():
        [fit] = linear.fit(chunks, Scale.of(chunks()), [question], [strength])
    return fit


@pytest.mark.parametrize(("examples", "width"), [(60, 200), (300, 20)])
def test_what_is_found_is_what_another_solver_finds(examples: int, width: int) -> None:
    """By the products of examples where they are fewer than features, and by those of features."""
    array, labels = features(examples, width)
    question = Question(np.eye(3)[labels], np.ones(examples), "softmax", slopes.classification())
    fit = found(array, question, 1e-2)
    standard = Scale.of([array])(array)
    theirs = LogisticRegression(C=1 / (1e-2 * examples), tol=1e-9, max_iter=10_000)
    theirs.fit(standard, labels)
    np.testing.assert_allclose(fit(array), theirs.predict_proba(standard), atol=1e-3)


@pytest.mark.parametrize("axes", [linear.MOST_AXES, 10])
def test_more_than_memory_holds_comes_to_the_same(
    axes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, labels = features(300, 20)
    question = Question(np.eye(3)[labels], np.ones(300), "softmax", slopes.classification())
    usual = found(array, question, 1e-3)
    monkeypatch.setattr(linear, "IN_MEMORY", 0)
    monkeypatch.setattr(linear, "MOST_AXES", axes)
    streamed = found(array, question, 1e-3, chunk=77)
    np.testing.assert_allclose(streamed(array), usual(array), atol=2e-3)


def test_an_answer_that_is_missing_does_not_count() -> None:
    array, labels = features(100, 5)
    numbers = labels.astype(float)[:, None]
    weights = np.ones(100)
    weights[50:] = 0.0
    numbers[50:] = 1e6
    fit = found(array, Question(numbers, weights, "linear", slopes.squared), 1e-6)
    standard = Scale.of([array])(array)
    theirs = Ridge(alpha=50 * 1e-6 / 2).fit(standard[:50], numbers[:50, 0])
    np.testing.assert_allclose(fit(array)[:50, 0], theirs.predict(standard[:50]), atol=1e-3)


def test_cross_validation_judges_by_heads_that_have_not_seen_an_example() -> None:
    """With labels by lot, no strength does better than guessing."""
    rng = np.random.default_rng(3)
    array = rng.normal(size=(80, 200)).astype("float32")
    labels = rng.integers(0, 2, 80)
    standard = Scale.of([array])(array).astype(float)
    question = Question(np.eye(2)[labels], np.ones(80), "softmax", slopes.classification())
    path = linear.cross_validate(designs.axes(standard @ standard.T), question, np.arange(80) % 5)
    assert path.loss(question.weights) > 0.6
