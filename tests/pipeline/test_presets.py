"""Presets: what they say, what is before and behind them, what they cost; and two finalists."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from pipeline import api, presets
from pipeline.config import Config
from pipeline.showing import departures
from tests.conftest import InProcess

PHOTOS = {"data.path": "digits"}


@pytest.mark.parametrize("preset", ["quick", "good", "best"])
def test_what_is_said_of_the_price_is_the_price(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.modalities.photos.giants.at_hand", lambda: ["MobileNetV2"])
    config = api.configured("photos", {**PHOTOS, "preset": preset})
    said = " ".join(str(Config.model_fields["preset"].description).split())
    [part] = [part for part in said.split(";") if f"{preset}, " in part]
    if "one for each giant" in part:
        stated = 1 + int(re.findall(r"at most (\d+)", part)[0])
    else:
        stated = 1 if "one pass" in part else int(re.findall(r"at most (\d+)", part)[0])
    assert presets.passes(config) == stated


def test_a_preset_is_between_the_recipe_and_what_is_asked_for() -> None:
    own = api.configured("photos-fine-tuned", PHOTOS)
    quick = api.configured("photos-fine-tuned", {**PHOTOS, "preset": "quick"})
    assert (own.fine_tune.unfreeze, own.augment.views) == (5, 4)
    assert (quick.fine_tune.unfreeze, quick.augment.views) == (0, 1)
    assert quick.head == own.head
    asked = api.configured("photos", {**PHOTOS, "preset": "best", "augment": {"views": 2}})
    assert (asked.augment.views, asked.model.finalists, asked.final.refit) == (2, 2, True)
    # What it stands for is told key by key, so that whoever repeats that repeats it.
    told = departures(asked)
    assert told["strategy"] == "auto"
    assert told["augment.views"] == 2
    assert "preset" not in told


def test_what_a_recipe_says_itself_is_before_the_preset_that_it_names(tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text("preset = 'best'\n[data]\npath = 'digits'\n[augment]\nviews = 3\n")
    config = api.configured(str(recipe))
    assert (config.augment.views, config.head.soup, config.strategy) == (3, 4, "auto")
    good = api.configured(str(recipe), {"preset": "good"})
    assert (good.augment.views, good.final.refit, good.preset) == (1, False, "good")


def test_the_command_line_reads_the_preset_before_the_recipe(
    here: InProcess, tiny_recipe: Path
) -> None:
    shown = here("show", "--preset", "quick", tiny_recipe, "--head.soup", 2).stdout
    assert 'preset = "quick"' in shown
    assert re.search(r"^unfreeze = 0 ", shown, re.MULTILINE)
    assert re.search(r"^soup = 2 ", shown, re.MULTILINE)
    done = here("show", tiny_recipe, "--preset", "fast")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "preset" in line
    assert "quick" in line


def test_two_finalists_are_trained_and_the_better_is_run(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "components.modalities.photos.giants.at_hand", lambda: ["SmallConvNet=none"]
    )
    best = (
        *("--preset", "best", "--final.folds", 2, "--augment.views", 2),
        *("--fine-tune.epochs", 0, "--bless.force", "a test"),  # Tests of the ladder climb it.
    )
    result = here.result(tiny_recipe, *best)
    assert result["outcome"] == "pushed"
    scores = here.store.glob("score/*/artifact.json")
    losses = [json.loads(path.read_text(encoding="utf-8"))["facts"]["loss"] for path in scores]
    page = Path(result["report"]).read_text(encoding="utf-8")
    [said] = re.findall(r"<h2>Which giant</h2>\s*<p>(.*?)</p>", page)
    assert "2 were trained" in said
    least = float(re.findall(r"the least loss, ([\d.]+):", said)[0])
    assert any(math.isclose(least, loss, abs_tol=1e-4) for loss in losses)
    # It again asks nothing again.
    again = here.run(tiny_recipe, *best)
    assert " ran " not in again.stderr


def test_a_cluster_is_told_which_giant(here: InProcess, tiny_recipe: Path) -> None:
    done = here("compile", tiny_recipe, "--model.finalists", 2)
    assert done.returncode == 2
    assert "model.finalists must be 1 on a cluster" in done.stderr
