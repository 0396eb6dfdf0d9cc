"""Events in what is said of moments one after another."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from components.served.opening import Answered
from components.served.timeline import Event, Step, events
from components.served.timeline import steps as steps_of
from models.mistakes import Mistake


def heard(*each: dict[str, float]) -> list[Step]:
    """A second each."""
    return [
        Step(float(at), at + 1.0, (), Answered(True, [], {}), probabilities)
        for at, probabilities in enumerate(each)
    ]


def test_what_wavers_around_the_threshold_is_one_event() -> None:
    steps = heard(*({"dog": p} for p in (0.1, 0.6, 0.45, 0.7, 0.35, 0.2, 0.55)))
    assert events(steps, 0.5, 0.3) == [Event(1.0, 5.0, "dog", 0.7), Event(6.0, 7.0, "dog", 0.55)]
    assert len(events(steps, 0.5, 0.5)) == 3


def test_several_at_once_and_one_that_is_never_loud_enough() -> None:
    steps = heard({"a": 0.9, "b": 0.1, "c": 0.4}, {"a": 0.8, "b": 0.9, "c": 0.4}, {"b": 0.9})
    assert events(steps, 0.5, 0.3) == [Event(0.0, 2.0, "a", 0.9), Event(1.0, 3.0, "b", 0.9)]


@pytest.mark.parametrize(("threshold", "release"), [(0.5, 0.6), (1.2, 0.5), (0.5, 0.0)])
def test_thresholds_that_make_no_sense(threshold: float, release: float) -> None:
    with pytest.raises(Mistake, match="--release must be above 0 and at most --events"):
        events(heard(), threshold, release)


@pytest.mark.parametrize(
    ("every", "batch_size", "said"),
    [
        (math.nan, 1, "--every must be at least 0.01 s, got nan"),
        (math.inf, 1, "--every must be"),
        (1.0, 0, "--batch-size must be at least 1, got 0"),
    ],
)
def test_steps_that_make_no_sense(every: float, batch_size: int, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        list(steps_of(Path("model"), "sound", (), Path("long.wav"), every, batch_size))
