"""Every part has its share of each answer."""

from __future__ import annotations

import numpy as np

from models import linear, slopes, strata


def test_every_part_has_its_share_of_each_answer() -> None:
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.repeat(np.arange(50), 6))
    parts = strata.folds([np.eye(50)[classes]], 3)
    assert all((np.bincount(classes[parts == part]) == 2).all() for part in range(3))
    fewer = strata.some([np.eye(50)[classes]], 150)
    assert len(set(fewer)) == 150
    counts = np.bincount(classes[fewer], minlength=50)
    assert counts.min() >= 2
    assert counts.max() <= 4


def test_numbers_are_spread_over_their_range() -> None:
    values = np.random.default_rng(0).normal(size=(300, 1))
    parts = strata.folds([values], 3)
    means = [values[parts == part].mean() for part in range(3)]
    assert np.ptp(means) < 0.05


def test_few_examples_of_many_classes_are_told_apart_by_heads_that_have_not_seen_them() -> None:
    """Drawn at random, a part of them has classes that the others have never heard of."""
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.repeat(np.arange(80), 3))
    features = np.eye(80)[classes] + rng.normal(0, 0.05, (240, 80))
    question = linear.Question(
        np.eye(80)[classes], np.ones(240), "softmax", slopes.classification()
    )
    path = linear.cross_validate(features, question, strata.folds([question.targets], 3))
    assert (path.said.argmax(axis=1) == classes).mean() > 0.95


def test_a_rare_label_beside_one_that_all_have_is_in_every_part() -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([np.ones(600), rng.permutation(600) < 12], axis=1)
    parts = strata.folds([labels], 5)
    assert min(labels[parts == part, 1].sum() for part in range(5)) >= 2
