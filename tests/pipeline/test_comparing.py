"""Two runs side by side, on what both were asked about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import InProcess, write_classes


def test_two_runs_side_by_side(tmp_path: Path, tiny_recipe: Path) -> None:
    """Another data set shares some test examples: the rest is told, and left out."""
    here = InProcess(tmp_path)
    asked = (tiny_recipe, "--fine-tune.epochs", 0, "--bless.force", "a test")
    one = here.result(*asked, "--head.epochs", 1)
    other = here.result(*asked, "--head.epochs", 20, "--head.learning-rate", "0.05")
    told = compare(here, one, other)
    assert told["shared"] > 0
    assert told["only_first"] == told["only_second"] == 0
    by_name = {row["name"]: row for row in told["figures"]}
    assert by_name["accuracy"]["value"] == other["metrics"]["test"]["accuracy"]
    assert by_name["accuracy"]["other"] == one["metrics"]["test"]["accuracy"]
    assert by_name["accuracy"]["count"] == told["shared"]
    apart = len(told["gained"]) - len(told["lost"])
    change = by_name["accuracy"]["value"] - by_name["accuracy"]["other"]
    assert round(change * told["shared"]) == apart
    assert ["train_head.epochs", 1, 20] in told["asked"]

    said = here("compare", one["run_id"], other["run_id"][-6:], "--store", here.store).stdout
    assert "train_head.learning_rate: 0.01 → 0.05" in said
    assert "95 % interval" in said

    page = tmp_path / "page.html"
    runs = [one["run_id"], other["run_id"], one["run_id"]]
    said = here("compare", *runs, "--store", here.store, "--page", page).stdout
    assert str(page) in said
    shown = page.read_text()
    for fact in (
        "3 runs side by side",
        "train_head.epochs",
        "val loss",
        "Seconds",
        "95 % interval",
    ):
        assert fact in shown
    done = here("compare", one["run_id"], "--store", here.store)
    assert "RUN must be two runs or more" in done.stderr
    done = here("compare", *runs, "--store", here.store, "--page", tmp_path / "page.txt")
    assert "--page must be a .html file" in done.stderr

    grown = tmp_path / "grown"
    shutil.copytree(tmp_path / "photos", grown)
    write_classes(grown, 40)
    third = here.result(*asked, "--data.path", grown)
    told = compare(here, one, third)
    assert told["only_second"] > 0
    assert (
        "were asked of the first alone"
        in here("compare", one["run_id"], third["run_id"], "--store", here.store).stdout
    )


def compare(here: InProcess, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    done = here("compare", one["run_id"], other["run_id"], "--store", here.store, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_mistakes_are_named(tmp_path: Path, tiny_recipe: Path) -> None:
    here = InProcess(tmp_path)
    one = here.result(tiny_recipe, "--fine-tune.epochs", 0, "--bless.force", "a test")
    done = here("compare", one["run_id"], "nothing", "--store", here.store)
    assert done.returncode == 2
    assert "RUN must be the id of a past run, got 'nothing'" in done.stderr

    apart = write_classes(tmp_path / "apart", 20, ("cat", "dog"))
    other = here.result(
        *(tiny_recipe, "--data.path", apart, "--fine-tune.epochs", 0, "--bless.force", "a test"),
        "--data.allow-new-labels",
    )
    done = here("compare", one["run_id"], other["run_id"], "--store", here.store)
    assert done.returncode == 2, done.stdout
