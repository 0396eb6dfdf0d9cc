"""What is said of more labels: of a goal, of twice as many, of classes; when nobody can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.pages import curves
from components.tasks import more_labels
from components.tasks.more_labels import MoreLabels
from models.learning_curve import Curve

SIZES = [20, 40, 80, 160, 320, 640]


def told(
    directory: Path, errors: list[np.ndarray], groups: np.ndarray, *, share: bool = True
) -> MoreLabels:
    figure = "accuracy" if share else "mae"
    curve = Curve(np.array(SIZES, float), tuple(errors))
    made = MoreLabels(figure, share, 800, curve, ("ant", "bee"), groups)
    more_labels.write(directory, [made])
    [found] = more_labels.read(directory)
    return found


def falling(floor: float = 0.02) -> tuple[list[np.ndarray], np.ndarray]:
    """Of ants fewer and fewer are wrong; of bees it is as many always."""
    rng = np.random.default_rng(0)
    hard, groups = rng.random(800), np.arange(800) % 2
    errors = []
    for size in SIZES:
        rate = np.where(groups == 0, floor + 3 / size**0.6, 0.1)
        draws = 5 if size < SIZES[-1] else 1
        noisy = [hard + 0.03 * rng.standard_normal(800) < rate for _ in range(draws)]
        errors.append(np.stack(noisy).astype(np.float32))
    return errors, groups.astype(np.int32)


def test_what_is_said(tmp_path: Path) -> None:
    found = told(tmp_path, *falling())
    assert found.sizes == SIZES
    assert found.curve.still_falls
    assert found.summary().startswith(f"With 640 examples a head has accuracy {found.now:.3f} (")
    assert "with 1600, twice as many as there are, it would have 0.9" in found.summary()
    assert found.of_classes().startswith("From 320 to 640 examples these gained most: ant (+0.0")
    assert "bee" not in found.of_classes()
    assert found.for_goal(0.5) == "For accuracy 0.5 no more labels are needed."
    assert "nobody can tell" in found.for_goal(0.9999)
    near = found.for_goal(round(found.now + 0.01, 3))
    assert " more labels" in near


def test_a_share_is_told_as_one_and_a_number_as_it_is(tmp_path: Path) -> None:
    errors, groups = falling()
    share = told(tmp_path, errors, groups)
    number = told(tmp_path, [10 * each for each in errors], groups, share=False)
    assert number.now == pytest.approx(10 * (1 - share.now), abs=0.05)
    assert number.goal < number.now
    assert share.goal > share.now
    assert (share.check(1.5), share.check(0.9), number.check(12.0)) == ("between 0 and 1", "", "")
    assert number.check(float("nan")) == "above 0"
    asked = share.as_json(0.5)
    assert asked["examples_needed"] == [640, 640, 640]
    assert asked["farthest"] == 2560
    assert asked["twice"]["examples"] == 1600


def test_the_chart_says_it_in_words_and_stays_in_its_frame(tmp_path: Path) -> None:
    drawn = curves.chart(told(tmp_path, *falling()))
    assert 'aria-label="accuracy over examples: With 640 examples' in drawn
    assert "800 there are" in drawn
    assert "nan" not in drawn
