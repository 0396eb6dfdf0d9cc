"""What is unlike all that was trained on is far, and what is nearly the same is near."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from models import novelty
from models.novelty import Reference


def reference(count: int = 300, width: int = 20) -> tuple[Reference, np.ndarray]:
    rng = np.random.default_rng(0)
    # Features of very different sizes, as those of different blocks are.
    sizes = np.geomspace(0.01, 100, width)
    known, others = (rng.normal(size=(n, width)) * sizes + 5 * sizes for n in (count, 200))
    others[3] = known[7] + 0.01 * sizes
    names, theirs = [f"k{n}" for n in range(count)], [f"o{n}" for n in range(200)]
    return Reference.of(known, names, others, theirs, 0.9), sizes


def test_what_is_new_is_far() -> None:
    found, sizes = reference()
    rng = np.random.default_rng(1)
    same = rng.normal(size=(500, 20)) * sizes + 5 * sizes
    new = same + 6 * sizes * (np.arange(20) < 5)  # In the smallest features alone.
    share = [(found.nearest(x)[0] <= found.limit).mean() for x in (same, new)]
    assert 0.85 <= share[0] <= 0.97
    assert share[1] < 0.1


def test_what_is_nearly_the_same_is_named_and_what_is_not_is_not() -> None:
    found, _ = reference()
    assert [(own, other) for own, other, _ in found.near] == [("o3", "k7")]
    assert found.near[0][2] < found.same < found.usual


def test_a_graph_finds_what_numpy_finds() -> None:
    found, sizes = reference()
    inputs = keras.Input((20,))
    apart, number = found.search(inputs)
    network = keras.Model(inputs, [apart, number])
    asked = np.random.default_rng(2).normal(size=(9, 20)).astype(np.float32) * sizes
    far, at = (np.asarray(x) for x in network.predict(asked, verbose=0))
    rows = found.rows.astype(np.float64)
    exact = np.sqrt(np.square(found.scale(asked)[:, None] - rows).sum(axis=2))
    np.testing.assert_allclose(far, exact.min(axis=1), rtol=1e-3)
    np.testing.assert_array_equal(at, exact.argmin(axis=1))


def test_a_feature_that_never_varies_is_no_reason() -> None:
    known = np.random.default_rng(0).normal(size=(50, 4))
    known[:, 2] = 3.0
    found = Reference.of(known[:40], ["a"] * 40, known[40:], ["b"] * 10, 0.9)
    apart, _ = found.nearest(known[:5])
    assert apart == pytest.approx(np.zeros(5), abs=0.02)


def test_what_is_like_no_other_is_far_off() -> None:
    """And two that are like each other alone are, too."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 20))
    features[7] += 30
    features[[11, 12]] -= 25
    apart = novelty.far_off(novelty.to_the_nearest(features @ features.T))
    assert set(np.flatnonzero(apart > novelty.OUTLIER)) == {7, 11, 12}
    copied = np.concatenate([features, features[:180], features[:180], features[:180]])
    apart = novelty.far_off(novelty.to_the_nearest(copied @ copied.T))
    assert set(np.flatnonzero(apart > novelty.OUTLIER)) <= {7, 11, 12}
    assert not novelty.far_off(np.zeros(5)).any()
    few = novelty.to_the_nearest(features[:2] @ features[:2].T)
    assert few == pytest.approx([np.linalg.norm(features[0] - features[1])] * 2)
