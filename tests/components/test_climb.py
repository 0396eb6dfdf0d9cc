"""`--strategy auto`: from cheap to dear, no further than helps beyond noise or fits the budget."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from components.training import paired
from models import splitting
from pipeline.interpreters.trace import trace
from pipeline.recipe import validate
from tests.conftest import InProcess

AUTO = ("--strategy", "auto", "--head.epochs", 20, "--head.learning-rate", 0.001)
FORCE = ("--bless.force", "a test")
RUNGS = ("last_blocks", "half_of_the_blocks", "all_blocks")


def stages(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in result["stages"]}


def ladder(result: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        (Path(stages(result)["climb"]["artifact"]) / "ladder.json").read_text()
    )
    return told


def better_by(monkeypatch: pytest.MonkeyPatch, *fell: float) -> None:
    """Let each rung in turn be better by so much, ± 1."""
    left = iter(fell)
    monkeypatch.setattr(paired, "better_by", lambda *_: (next(left), 1.0))
    monkeypatch.setattr("components.training.phases.Phase.is_no_worse", property(lambda _: True))


def test_it_climbs_while_it_helps(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better_by(monkeypatch, -9.0, -9.0, 3.0, 2.0, 0.5)  # The first are those of class means.
    result = here.result(tiny_recipe, *AUTO, *FORCE)
    ran = stages(result)
    told = ladder(result)
    assert [rung["taken"] for rung in told["rungs"]] == [True, True, True, False]
    assert ran["climb"]["stats"]["taken"] == "half of the blocks"
    assert told["why"].startswith("all blocks: fine-tuning is not better beyond noise")
    assert "0.5000 ± 1.0000" in told["why"]
    # What is exported is what was taken: the weights of the second rung.
    own = {
        name: (Path(ran[name]["artifact"]) / "backbone.weights.h5").read_bytes()
        for name in ("climb", "half_of_the_blocks.fine_tune", "last_blocks.fine_tune")
    }
    assert own["climb"] == own["half_of_the_blocks.fine_tune"] != own["last_blocks.fine_tune"]
    assert "How much of the giant" in Path(result["report"]).read_text(encoding="utf-8")


def test_what_does_not_help_ends_it_and_nothing_more_is_computed(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better_by(monkeypatch, -9.0, -9.0, 0.9)
    result = here.result(tiny_recipe, *AUTO, *FORCE)
    ran = stages(result)
    assert [ran[f"{rung}.fine_tune"]["status"] for rung in RUNGS] == ["ran", "skipped", "skipped"]
    assert [ran[f"{rung}.extract"]["status"] for rung in RUNGS] == ["ran", "skipped", "skipped"]
    assert ran["climb"]["stats"]["taken"] == "a frozen giant"
    # The head that is kept has seen all there is; the one that was compared with had not.
    frozen, compared = (
        (Path(ran[name]["artifact"]) / "head.weights.h5").read_bytes()
        for name in ("train_head", "compared.train_head")
    )
    assert frozen != compared
    assert (Path(ran["climb"]["artifact"]) / "head.weights.h5").read_bytes() == frozen
    again = stages(here.result(tiny_recipe, *AUTO, *FORCE))
    assert all(stage["status"] in ("reused", "skipped") for stage in again.values())


def test_what_would_take_longer_than_the_budget_is_not_tried(
    here: InProcess, tiny_recipe: Path
) -> None:
    slow = ("--fine-tune.epochs", 10_000, "--runtime.budget", "1s")
    result = here.result(tiny_recipe, *AUTO, *FORCE, *slow)
    ran = stages(result)
    assert ran["last_blocks.fine_tune"]["status"] == "skipped"
    assert "of --runtime.budget are left" in ladder(result)["why"]
    plan = json.loads(
        here(
            *("plan", tiny_recipe, *AUTO, *FORCE, "--fine-tune.epochs", 10_000),
            *("--runtime.budget", "2h", "--store", here.store, "--json"),
        ).stdout
    )
    [rung] = [stage for stage in plan["stages"] if stage["name"] == "last_blocks.fine_tune"]
    assert rung["why"] == "--runtime.budget: 1 → 7200"


def test_a_head_that_is_trained_by_epochs_climbs_as_well(
    here: InProcess, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better_by(monkeypatch, 2.0, 0.1)
    result = here.result(tiny_recipe, "--strategy", "auto", *FORCE)
    ran = stages(result)
    assert "compared.train_head" not in ran
    assert ran["climb"]["stats"]["taken"] == "last blocks"


def test_on_a_cluster_each_rung_waits_for_the_one_before() -> None:
    nodes = trace(validate({"data": {"path": "PHOTOS"}, "strategy": "auto"}))
    assert {f"{rung}.fine_tune" for rung in RUNGS} <= set(nodes["climb"].after)
    for before, after in itertools.pairwise(RUNGS):
        for stage in ("extract", "fine_tune"):
            assert f"{before}.fine_tune" in nodes[f"{after}.{stage}"].after


def test_what_runs_again_is_said_to(here: InProcess, tiny_recipe: Path) -> None:
    done = here("plan", tiny_recipe, "--strategy", "auto", "--store", here.store, "--json")
    why = {stage["name"]: stage["why"] for stage in json.loads(done.stdout)["stages"]}
    assert why["climb"] == "an earlier stage runs"


def test_shares_of_blocks() -> None:
    starts = {name: at for at, name in enumerate(("stem", *"abcdefg"))}
    assert splitting.resolve_block(starts, "25%") == "f"
    assert splitting.resolve_block(starts, "50%") == "d"
    assert splitting.resolve_block(starts, "100%") == "stem"
    assert splitting.resolve_block(starts, "0%") is None
    assert splitting.resolve_block({"stem": 0, "one": 1}, "25%") == "one"


def test_a_budget_is_a_time(here: InProcess, tiny_recipe: Path) -> None:
    done = here.run(tiny_recipe, "--runtime.budget", "soon")
    assert done.returncode == 2
    assert "runtime.budget must be a time such as 3h or 1h30m, got 'soon'" in done.stderr
