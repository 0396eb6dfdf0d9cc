"""Learning curves: a band that holds what comes, and how many examples a goal needs."""

from __future__ import annotations

import numpy as np
import pytest

from models.learning_curve import REACH, Curve

SIZES = np.geomspace(30, 960, 6).round()


def measured(
    truth: np.ndarray, *, examples: int = 1200, seed: int = 0, sizes: np.ndarray = SIZES
) -> Curve:
    """Heads that are wrong as often as `truth` says, five of each size and one of the last."""
    rng = np.random.default_rng(seed)
    hard = rng.random(examples)  # What one head is wrong about, others are as well.
    errors = [
        np.stack([(hard + 0.1 * rng.standard_normal(examples)) < rate for _ in range(draws)])
        for rate, draws in zip(truth, [5] * (len(sizes) - 1) + [1], strict=True)
    ]
    return Curve(sizes, tuple(each.astype(np.float32) for each in errors))


def law(sizes: np.ndarray, *, floor: float = 0.05, steep: float = 0.5) -> np.ndarray:
    return np.asarray(floor + 1.5 * sizes**-steep)


def rate(error: float) -> float:
    """What `measured` comes to for such a rate."""
    return float(measured(np.full(6, error), examples=40_000).values.mean())


@pytest.mark.parametrize("steep", [0.3, 0.5, 0.9])
def test_the_band_holds_what_comes(steep: float) -> None:
    ahead = 2.5 * SIZES[-1]
    truth = rate(float(law(np.array([ahead]), steep=steep)[0]))
    held = 0
    for seed in range(10):
        low, middle, high = measured(law(SIZES, steep=steep), seed=seed).band([ahead])[:, 0]
        assert low <= middle <= high
        held += low <= truth <= high
    assert held >= 8


def test_nobody_can_tell_what_comes_beyond() -> None:
    curve = measured(law(SIZES))
    assert curve.farthest == REACH * 960
    curve.band([curve.farthest])
    with pytest.raises(ValueError, match="at most 3840, got 3841"):
        curve.band([3841])
    needed = curve.needed(0.0001)
    assert needed.low == needed.middle == needed.high == np.inf


def test_how_many_a_goal_needs() -> None:
    curve = measured(law(SIZES, floor=0.0))
    reached = curve.needed(float(curve.values[-1]) + 0.05)
    assert reached.low == reached.middle == pytest.approx(960)
    wanted = rate(float(law(np.array([2000.0]), floor=0.0)[0]))
    found = curve.needed(wanted)
    assert found.low <= 2000 <= found.high
    assert found.low < found.middle


def test_what_does_not_fall_is_not_said_to_fall() -> None:
    flat = measured(np.full(6, 0.3))
    assert not flat.still_falls
    assert measured(law(SIZES, floor=0.0, steep=0.4)).still_falls
    assert flat.falls(1000, 2000)[1] < 0.02


def test_it_is_the_same_every_time_and_never_below_none() -> None:
    one, other = (
        measured(law(SIZES, floor=0.0, steep=0.9)),
        measured(law(SIZES, floor=0.0, steep=0.9)),
    )
    ahead = [960.0, 1920.0, 3840.0]
    np.testing.assert_array_equal(one.band(ahead), other.band(ahead))
    assert (one.band(ahead) >= 0).all()
