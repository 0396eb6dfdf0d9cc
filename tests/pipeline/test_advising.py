"""`advise` and `learning-curve`: what they tell, what they leave behind, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import InProcess, write_classes

GIANTS = "ConvNet=none,SmallConvNet=none,Nope"


def advised(here: InProcess, *arguments: object) -> dict[str, Any]:
    done = here("advise", *arguments, "--store", here.store, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_from_giants_to_a_recipe_that_runs(here: InProcess, tiny_recipe: Path) -> None:
    told = advised(here, tiny_recipe, "--giants", GIANTS)
    assert {each["name"] for each in told["giants"]} == {"ConvNet=none", "SmallConvNet=none"}
    assert sorted(told["finalists"]) == ["ConvNet=none", "SmallConvNet=none"]
    assert "got 'Nope'" in told["left_out"]["Nope"]
    for giant in told["giants"]:
        assert set(giant["scores"]) == {"knn", "prototypes", "last", "taps"}
        for score in giant["scores"].values():
            assert score["low"] <= score["error"] <= score["high"]
            assert score["figures"]["accuracy"] == pytest.approx(1 - score["error"])
        assert giant["bytes"] > 0
        assert giant["domain"] is None  # It has learned nothing.
    assert [rung["name"].split(":")[0] for rung in told["rungs"]][:2] == [
        *("prototypes", "a linear head on the last layer"),
    ]
    assert Path(told["page"]).read_text(encoding="utf-8").count("<svg") == 1

    written = here.directory / "advised.toml"
    text = written.read_text(encoding="utf-8")
    assert text.startswith("# Advised by ")
    assert f'backbone = "{told["chosen"].partition("=")[0]}"' in text
    # Nothing was run, and what was computed is found again by a run of it.
    assert here("runs", "--store", here.store).stdout.startswith("no run in")
    stages = {stage["name"]: stage for stage in here.result(written)["stages"]}
    assert stages["assemble"]["status"] == "reused"
    assert stages["extract"]["stats"]["computed"] == 0


def test_again_it_computes_nothing(here: InProcess, tiny_recipe: Path) -> None:
    first = advised(here, tiny_recipe, "--giants", "ConvNet=none")
    done = here("advise", tiny_recipe, "--giants", "ConvNet=none", "--store", here.store)
    assert " ran " not in done.stderr, done.stderr
    assert first["finalists"] == ["ConvNet=none"]
    assert "recipe  advised.toml" in done.stdout


def test_a_sample_is_in_proportion(here: InProcess, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "many", 40, ("ant", "bee", "cat"))
    told = advised(
        *(here, "photos", photos, "--giants", "ConvNet=none", "--photos.input-size", 16),
        *("--sample", 30),
    )
    assert (told["examples"], told["of"]) == (30, 102)
    [features] = (here.store / "extract").glob("*/rows.jsonl")
    labels = [json.loads(line)["answers"][0] for line in features.read_text().splitlines()]
    assert {label: labels.count(label) for label in set(labels)} == dict.fromkeys(
        ("ant", "bee", "cat"), 10
    )


def test_one_example_of_a_class(here: InProcess, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "few", 12)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / "split" / split / name).mkdir(parents=True)
    for number, path in enumerate(sorted((photos / "ant").iterdir())):
        shutil.copy(path, tmp_path / "split" / ("test" if number > 8 else "train") / "ant")
    for number, path in enumerate(sorted((photos / "bee").iterdir())):
        if number != 1:
            shutil.copy(path, tmp_path / "split" / ("test" if number else "train") / "bee")
    told = advised(
        *(here, "photos", tmp_path / "split", "--giants", "ConvNet=none"),
        *("--photos.input-size", 16, "--data.validation-fraction", 0.1),
    )
    rungs = {rung["name"]: rung for rung in told["rungs"]}
    assert rungs["prototypes: the mean of each class"]["verdict"] == "do"
    for name in ("a linear head on the last layer", "a linear head on taps"):
        assert rungs[name]["verdict"] == "cannot tell"
        assert "'bee' has one example" in rungs[name]["why"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--giants", "Nope,Neither"), "--giants must be within reach, got none of Nope, Neither"),
        (("--giants", "=none"), "--giants must be BACKBONE or BACKBONE=WEIGHTS, got '=none'"),
        (("--sample", 3), "--sample must be at least 20, got 3"),
        (("--output", "advice.txt"), "--output must be a .toml file"),
    ],
)
def test_what_is_refused(
    here: InProcess, tiny_recipe: Path, arguments: tuple[object, ...], said: str
) -> None:
    done = here("advise", tiny_recipe, "--store", here.store, *arguments)
    assert done.returncode == 2
    [line] = [each for each in done.stderr.splitlines() if "must be" in each]
    assert said in line
    assert not (here.directory / "advised.toml").exists()


def test_how_many_more_labels(here: InProcess, tiny_recipe: Path) -> None:
    asked = ("learning-curve", tiny_recipe, "--store", here.store)
    done = here(*asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("With 27 examples a head has accuracy ")
    [told] = json.loads(here(*asked, "--goal", 0.9, "--json").stdout)
    assert (told["figure"], told["goal"], told["examples"]) == ("accuracy", 0.9, 34)
    assert [row["examples"] for row in told["measured"]][-1] == 27
    wrong = here(*asked, "--goal", 2)
    assert wrong.returncode == 2
    assert "--goal must be between 0 and 1, got 2" in wrong.stderr
