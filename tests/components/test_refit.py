"""`--final.refit`: what was found, trained on all but the test; what is said is out of fold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import InProcess

RUNGS = ("last_blocks", "half_of_the_blocks", "all_blocks")
REFIT = ("--final.refit", "--final.folds", 2, "--bless.force", "a test")


def stages(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in result["stages"]}


def lines(stage: dict[str, Any], name: str) -> list[Any]:
    text = (Path(stage["artifact"]) / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def history(stage: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(stage["artifact"]) / "history.json").read_text())
    return found


def artifact(stage: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(stage["artifact"]) / "artifact.json").read_text())
    return found


@pytest.mark.parametrize("views", [1, 3])
def test_everything_but_the_test_is_trained_on(
    here: InProcess, tiny_recipe: Path, views: int
) -> None:
    result = here.result(tiny_recipe, *REFIT, "--augment.views", views)
    ran = stages(result)
    rows = lines(ran["extract"], "rows.jsonl")
    every = {row["id"] for row in rows}
    folds = [lines(ran[f"fold_{n}.resplit"], "rows.jsonl") for n in (1, 2)]
    left_out = [{r["id"] for r in fold if r["split"] == "validation"} for fold in folds]
    assert left_out[0] | left_out[1] == every
    assert not left_out[0] & left_out[1]
    for fold in folds:
        assert {r["id"] for r in fold} == every
    whole = lines(ran["whole.resplit"], "rows.jsonl")
    assert {row["id"] for row in whole if row["split"] == "train"} == every

    # For as many epochs as were found, and the last weights are kept.
    for phase in ("train_head", "fine_tune"):
        found, again = history(ran[phase]), history(ran[f"whole.{phase}"])
        if phase == "train_head" or artifact(ran[phase])["facts"]["backbone_changed"]:
            assert len(again["epochs"]) == found["best_epoch"] + 1 == again["best_epoch"] + 1

    # What is settled and told comes from what folds said that had not seen an example.
    held = lines(ran["refit"], "held_out.jsonl")
    assert len(held) == len(every)
    stats = ran["refit"]["stats"]
    assert 0 <= stats["cv_accuracy"] <= 1
    assert stats["cv_loss"] > 0
    assert "its figures come from 2 folds" in artifact(ran["refit"])["facts"]["kept"]
    assert "2 folds" in Path(result["report"]).read_text(encoding="utf-8")


def test_what_was_fine_tuned_is_fine_tuned_again(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.training.phases.Phase.is_no_worse", property(lambda _: True))
    taps = ("--head.features", "taps", "--fine-tune.learning-rate", 1e-3)
    ran = stages(here.result(tiny_recipe, *REFIT, *taps, "--fine-tune.interpolate", 0.5))
    tuned, whole = (artifact(ran[name])["facts"] for name in ("fine_tune", "whole.fine_tune"))
    assert whole["backbone_changed"] == tuned["backbone_changed"]
    heads = [artifact(ran[f"{b}train_head"])["facts"]["form"]["taps"] for b in ("", "whole.")]
    assert heads[0] == heads[1]
    if tuned["backbone_changed"]:
        told = json.loads(
            (Path(ran["whole.fine_tune"]["artifact"]) / "forgetting.json").read_text()
        )
        assert told["share"] == 0.5


def test_what_is_fitted_exactly_has_them_already(here: InProcess, tiny_recipe: Path) -> None:
    plain = ("--fine-tune.unfreeze", 0, "--head.epochs", 20, "--head.learning-rate", 0.001)
    ran = stages(here.result(tiny_recipe, *REFIT, *plain))
    assert "refit" not in ran
    assert "exactly to 34 examples" in artifact(ran["train_head"])["facts"]["kept"]


def test_every_rung_that_was_taken_is_climbed_again(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fell = iter([(1.0, 0.1), (0.0, 0.1)])  # The first is better, the second is not.
    monkeypatch.setattr("components.training.paired.better_by", lambda *_: next(fell))
    ran = stages(here.result(tiny_recipe, *REFIT, "--strategy", "auto", "--head.features", "last"))
    whole = [artifact(ran[f"whole.{rung}.fine_tune"])["facts"] for rung in RUNGS]
    assert [facts["backbone_changed"] for facts in whole] == [True, False, False]
    found = history(ran["last_blocks.fine_tune"])
    again = history(ran["whole.last_blocks.fine_tune"])
    assert len(again["epochs"]) == found["best_epoch"] + 1
    held = lines(ran["refit"], "held_out.jsonl")
    assert len(held) == len(lines(ran["extract"], "rows.jsonl"))
    assert artifact(ran["refit"])["facts"]["backbone_changed"]


def test_a_ladder_of_which_nothing_is_taken_leaves_the_frozen_head(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.training.paired.better_by", lambda *_: (0.0, 0.1))
    ran = stages(here.result(tiny_recipe, *REFIT, "--strategy", "auto"))
    assert not artifact(ran["refit"])["facts"]["backbone_changed"]
    assert not (Path(ran["refit"]["artifact"]) / "history.json").exists()  # Nothing was tuned.
    assert ran["refit"]["stats"]["cv_loss"] > 0
