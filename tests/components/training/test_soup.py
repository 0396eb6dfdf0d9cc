"""Soups: averages of heads, which ones are in it, and that they say what an ensemble does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.training import soup
from components.training.choosing import Candidate, Chooser
from models import linear
from models.linear import Fit, Question
from models.slopes import classification
from tests.conftest import InProcess

FROZEN = ("--fine-tune.unfreeze", 0, "--bless.force", "a test")


def of_means(kettle: np.ndarray) -> Any:
    """Losses of the mean of some rows, which are what each says beside the truth, 0."""
    return lambda taken: np.square(kettle[list(taken)].mean(axis=0))


def test_what_errs_otherwise_is_added_and_what_errs_alike_is_not() -> None:
    rng = np.random.default_rng(0)
    apart = rng.standard_normal((3, 200))
    worse = 5 * rng.standard_normal((1, 200))
    taken = soup.greedy(4, of_means(np.concatenate([apart, worse])))
    assert set(taken) == {0, 1, 2}
    alike = np.repeat(apart[:1], 3, axis=0)
    assert len(set(soup.greedy(3, of_means(alike)))) == 1


def test_within_noise_it_is_the_best_alone() -> None:
    one = np.ones((1, 10))
    noisy = one + np.array([[0.0] * 9 + [-1.0]])  # Better by one example of ten.
    assert soup.greedy(2, of_means(np.concatenate([noisy, one]))) == [0]
    kettle = np.array([[1.0, 1.0, 1.0, 1.0], [-1.0, 1.2, 1.2, 1.2]])
    assert len(set(soup.greedy(2, of_means(kettle)))) == 1


def test_an_average_of_heads_says_what_their_sums_do_on_average() -> None:
    rng = np.random.default_rng(0)
    widths, labels = {"low": 4, "top": 3}, np.eye(3)[np.arange(30) % 3]
    features = {name: rng.standard_normal((30, width)) for name, width in widths.items()}
    question = Question(labels, np.ones(30), "softmax", classification())
    every = [["a"]] * 30
    chooser = Chooser({}, widths, (question,), (1.0,), 30, (), every, (np.arange(30),))

    def head(taps: tuple[str, ...]) -> tuple[Candidate, Fit]:
        width = sum(widths[name] for name in taps)
        fit = Fit(rng.standard_normal((width, 3)), rng.standard_normal(3), "softmax")
        said = fit(np.concatenate([features[name] for name in taps], axis=1))
        path = linear.Path(0.1, said, question.losses(said))
        return Candidate(taps, width, (path,), chooser.losses([path])), fit

    (last, one), (both, other) = head(("top",)), head(("low", "top"))
    parts = [(last, 0.25), (both, 0.75)]
    whole = soup.mixed(chooser, parts)
    [fit] = soup.average(chooser, parts, [[one], [other]])
    array = np.concatenate([features["low"], features["top"]], axis=1)
    assert (whole.taps, whole.width) == (("low", "top"), 7)
    np.testing.assert_allclose(fit(array), whole.paths[0].said, rtol=1e-6)
    sums = 0.25 * (features["top"] @ one.kernel + one.bias)
    sums += 0.75 * (array @ other.kernel + other.bias)
    np.testing.assert_allclose(fit(array), linear.activated(sums, "softmax"), rtol=1e-6)


@pytest.mark.parametrize("features", ["taps", "last"])
def test_it_is_served_and_trained_again(
    here: InProcess, tiny_recipe: Path, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_of_them(count: int, losses: Any) -> Sequence[int]:
        losses(range(count))
        return [0, 1, 1]

    monkeypatch.setattr(soup, "greedy", all_of_them)
    given = ("--head.features", features, "--head.soup", 2, "--head.epochs", 3)
    again = ("--final.refit", "--final.folds", 2)
    result = here.result(tiny_recipe, *FROZEN, *given, *again)
    stages = {stage["name"]: stage for stage in result["stages"]}
    made = Path(stages["train_head"]["artifact"])
    kept = json.loads((made / "artifact.json").read_text())["facts"]["kept"]
    if features == "taps":
        choice = json.loads((made / "choice.json").read_text())
        assert [round(share, 3) for _, share in choice["parts"]] == [0.333, 0.667]
        assert "an average of heads" in Path(result["report"]).read_text(encoding="utf-8")
        return
    assert stages["train_head"]["stats"]["soup"] == [0, 1, 1]
    assert "the average of 2 heads of 3" in kept
    whole = json.loads((Path(stages["whole.train_head"]["artifact"]) / "artifact.json").read_text())
    assert whole["stats"]["soup"] == [0, 1, 1]
