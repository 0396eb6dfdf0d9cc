"""Parts of the test examples: what is bad at one of them is named, and what is chance is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from components.artifacts import Rivals
from components.bless import BlessConfig, bless, check
from components.judging import judged, slices
from components.tasks import tallies
from components.tasks.protocol import Figure
from models.mistakes import Mistake
from tests.components.test_bless import TARGETS, evaluation, first
from tests.helpers import job

ACCURACY = Figure("accuracy", "")


def told(right: np.ndarray, light: Sequence[object]) -> list[dict[str, object]]:
    count = len(right)
    truth = np.arange(count) % 2
    shares = np.where((truth == 1) == right, 0.9, 0.1)
    tally = tallies.of_classes(
        truth, np.where(right, truth, 1 - truth), np.stack([1 - shares, shares], axis=1)
    )
    return slices.rows(tally, "accuracy", ACCURACY, [{"light": x} for x in light], ["light"])


def test_the_dark_ones_are_named() -> None:
    light = list(range(400))
    right = np.random.default_rng(0).random(400) < np.where(np.arange(400) < 100, 0.6, 0.95)
    rows = told(right, light)
    assert [row["part"] for row in rows] == ["0 to 99", "100 to 199", "200 to 299", "300 to 399"]
    assert [row["worse"] for row in rows] == [True, False, False, False]
    assert rows[0]["value"] == right[:100].mean()


def test_chance_is_not_named() -> None:
    """Of a hundred sets in which all parts are alike, in at most a few is any part named."""
    named = 0
    for seed in range(100):
        right = np.random.default_rng(seed).random(200) < 0.85
        named += any(row["worse"] for row in told(right, list(range(200))))
    assert named <= 8


def test_words_are_parts_and_what_is_rare_or_unknown_is_left_out() -> None:
    kinds: list[object] = ["PNG"] * 30 + ["JPEG"] * 30 + ["GIF"] * 3 + [None] * 7
    rows = told(np.ones(70, bool), kinds)
    assert [(row["part"], row["count"]) for row in rows] == [("JPEG", 30), ("PNG", 30)]
    assert told(np.ones(30, bool), ["PNG"] * 30) == []


def test_cells_of_a_table_that_are_all_numbers_are_numbers() -> None:
    rows = told(np.ones(80, bool), [*map(str, range(78)), "", ""])
    assert [(row["part"], row["count"]) for row in rows] == [
        ("0 to 19", 20),
        ("20 to 38", 19),
        ("39 to 57", 19),
        ("58 to 77", 20),
    ]


def test_a_threshold_on_every_part(tmp_path: Path) -> None:
    right = first(0.9, 200)  # The last ones are wrong, …
    candidate = evaluation(tmp_path / "candidate", right)
    facts = {f"{n:06}": {"brightness": n} for n in range(200)}  # … which are the brightest.
    rows = json.loads(json.dumps(_rows(candidate.directory)))
    judged.write(candidate.directory, rows, TARGETS, TARGETS, judged.Known(facts, ["brightness"]))
    for asked, blessed in (("0.5", True), ("0.8", False)):
        config = BlessConfig(slices=(f"brightness: accuracy>={asked}",))
        check(config, TARGETS, ("brightness",))
        verdict = bless(job(tmp_path / asked), candidate, Rivals(), config)
        assert verdict.blessed is blessed
        assert any(
            "Where brightness is 150 to 199, its accuracy is 0.600" in r for r in verdict.reasons
        )


def _rows(directory: Path) -> list[dict[str, object]]:
    from components.judging import predictions

    return predictions.read(directory, TARGETS, TARGETS)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("brightness accuracy", "must be SLICE: FIGURE>=VALUE"),
        ("brightnes: accuracy>=0.8", "must name a slice that there is, got 'brightnes': did you"),
        ("brightness: acuracy>=0.8", "must name a main figure, got 'acuracy': did you mean"),
    ],
)
def test_mistakes_are_named(entry: str, said: str) -> None:
    with pytest.raises(Mistake) as told_so:
        check(BlessConfig(slices=(entry,)), TARGETS, ("brightness", "width"))
    assert said in str(told_so.value)
