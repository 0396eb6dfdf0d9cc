"""Heads of class means: they train nothing, are served as they are, and are asked of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.training import few
from tests.conftest import InProcess, write_classes

PLAIN = ("--fine-tune.unfreeze", 0, "--head.epochs", 20, "--head.learning-rate", 0.001)


def test_class_means_from_photos_to_what_is_served(here: InProcess, tiny_recipe: Path) -> None:
    result = here.result(tiny_recipe, *PLAIN, "--head.kind", "prototype")
    stages = {stage["name"]: stage for stage in result["stages"]}
    head = Path(stages["train_head"]["artifact"])
    statistics, shrink, sharpness = few.read_statistics(head)
    assert statistics.counts.tolist() == [17, 17]  # Those to validate with, too.
    assert (shrink, round(sharpness, 2)) == (
        *(stages["train_head"]["stats"][name] for name in ("shrink", "sharpness")),
    )
    assert not (head / "history.json").exists()
    assert result["metrics"]["test"]["accuracy"] > 0.6
    shots = json.loads((head / "shots.json").read_text())
    assert [row["shots"] for row in shots["rows"]] == [1, 2, 5, 10]
    assert "With few examples" in Path(result["report"]).read_text(encoding="utf-8")


def test_means_that_all_axes_count_alike_for_are_told_in_json(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.prototypes._BALLS", (np.inf,))
    done = here.run(tiny_recipe, *PLAIN, "--head.kind", "prototype", "--bless.force", "a test")
    assert done.returncode == 0, done.stderr
    assert "Infinity" not in done.stdout
    [head] = [s for s in json.loads(done.stdout)["stages"] if s["name"] == "train_head"]
    assert head["stats"]["ball"] is None
    assert "Infinity" not in (Path(head["artifact"]) / "artifact.json").read_text()


def test_on_all_taps_and_fine_tuned_from_there(here: InProcess, tiny_recipe: Path) -> None:
    taps = here.result(tiny_recipe, *PLAIN, "--head.kind", "prototype", "--head.features", "taps")
    [head] = [stage for stage in taps["stages"] if stage["name"] == "train_head"]
    assert head["stats"]["features"] == "all taps"
    tuned = here.result(tiny_recipe, "--head.kind", "prototype", "--bless.force", "a test")
    [phase] = [stage for stage in tuned["stages"] if stage["name"] == "fine_tune"]
    assert phase["stats"]["epochs"] > 0


def test_one_example_of_each_class(here: InProcess, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "many", 30, ("ant", "bee"))
    result = here.result(
        *("photos", photos, "--model.backbone", "ConvNet", "--model.weights", "none"),
        *("--photos.input-size", 16, "--data.labels-per-class", 2),
        *("--data.validation-fraction", 0.4, "--head.kind", "prototype"),
        *("--bless.no-beat-trivial", "--control.no-enabled"),
    )
    [head] = [stage for stage in result["stages"] if stage["name"] == "train_head"]
    assert few.read_statistics(Path(head["artifact"]))[0].counts.tolist() == [2, 2]


def test_a_linear_head_begins_with_what_class_means_say(here: InProcess, tiny_recipe: Path) -> None:
    def first_loss(*arguments: object) -> float:
        result = here.result(tiny_recipe, "--fine-tune.unfreeze", 0, "--head.epochs", 1, *arguments)
        [head] = [stage for stage in result["stages"] if stage["name"] == "train_head"]
        return float(head["stats"]["val_loss"])

    slow = ("--head.learning-rate", 1e-6, "--bless.force", "a test")
    assert first_loss(*slow, "--head.begin", "prototypes") < first_loss(*slow) - 0.02
    assert first_loss(*slow) == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "number"), "head.kind must be left out where not one label alone is asked for"),
        (("--head.hidden", 4), "head.hidden must be left out with head.kind prototype"),
        (("--augment.views", "fresh"), "head.kind must be left out where augment.views is fresh"),
        (("--head.begin", "prototypes"), "head.begin must be left out where the head is not"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_runs(
    here: InProcess, tiny_recipe: Path, arguments: tuple[object, ...], said: str
) -> None:
    done = here.run(tiny_recipe, "--head.kind", "prototype", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not here.store.exists()
