"""`tune`: trials share what they can, are the same however often it is killed; the best runs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.job import Pruned
from pipeline import tuning
from pipeline.recipe import validate
from pipeline.tuning import Trial, Tuned
from tests.conftest import ROOT, InProcess

QUICK = ("--fine-tune.epochs", 2, "--head.epochs", 3, "--bless.force", "a test")


def tuned(here: InProcess, recipe: Path, *arguments: object) -> dict[str, Any]:
    done = here("tune", recipe, *QUICK, *arguments, "--store", here.store, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(trial: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the clock."""
    return {key: value for key, value in trial.items() if key not in ("seconds", "shared")}


def test_trials_share_stages_and_the_best_is_run(here: InProcess, tiny_recipe: Path) -> None:
    found = tuned(here, tiny_recipe, "--trials", 5)
    assert [trial["number"] for trial in found["trials"]] == list(range(5))
    assert found["trials"][0]["settings"] == {"model.backbone": "ConvNet"}
    assert found["saved"] > 0
    best = found["trials"][found["best"]]
    assert best["state"] == "complete"
    assert found["run"]["pushed"]
    # The run of the best found what the trial had computed.
    stages = {stage["name"]: stage for stage in found["run"]["stages"]}
    assert stages["extract"]["status"] == "reused"
    text = Path(here.directory / "tuned.toml").read_text(encoding="utf-8")
    assert text.startswith(f"# Trial {best['number'] + 1} of 5: loss {best['loss']:.4f}")
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert page.count("<polyline") == sum(t["loss"] is not None for t in found["trials"])
    # More of them go on from there; none is a run of its own.
    more = tuned(here, tiny_recipe, "--trials", 7)
    assert [told(trial) for trial in more["trials"][:5]] == [told(t) for t in found["trials"]]
    runs = json.loads(here("runs", "--store", here.store, "--json").stdout)
    assert len(runs) == 2


def test_killed_before_a_trial_is_written_down_it_is_the_same(
    here: InProcess, tiny_recipe: Path
) -> None:
    """Its stages are there, and are reused: the epochs that they were trained for count."""
    whole = tuned(here, tiny_recipe, "--trials", 3)
    (log,) = (here.store / "tune").glob("*/trials.jsonl")
    lines = log.read_text().splitlines(keepends=True)
    for left in (0, 1, 2):
        log.write_text("".join(lines[:left]))
        again = tuned(here, tiny_recipe, "--trials", 3)
        assert [told(t) for t in again["trials"]] == [told(t) for t in whole["trials"]]
    assert any(trial["epochs"] for trial in whole["trials"])


@pytest.mark.slow
def test_killed_five_times_it_ends_with_the_same_trials(here: InProcess, tiny_recipe: Path) -> None:
    whole = tuned(here, tiny_recipe, "--trials", 6)
    store = here.directory / "killed"
    arguments = ("tune", tiny_recipe, *QUICK, "--trials", 6, "--store", store, "--json")
    command = [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)]
    dice = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            command, cwd=here.directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        time.sleep(dice.uniform(5, 25))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = here(*arguments)
    assert done.returncode == 0, done.stderr
    assert [told(t) for t in json.loads(done.stdout)["trials"]] == [
        told(t) for t in whole["trials"]
    ]


def test_half_a_line_of_the_log_is_no_trial(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    trial = Trial(0, {}, "complete", 0.5, {}, {0: 1.0}, 1.0, 0.0)
    tuning._append(log, trial)
    with log.open("a") as file:
        file.write('{"number": 1, "settings": {')
    assert [Trial.of(row) for row in tuning._lines(log)] == [trial]
    tuning._append(log, trial)
    assert len(list(tuning._lines(log))) == 2


def test_what_is_worse_than_the_others_is_given_up(here: InProcess, tiny_recipe: Path) -> None:
    config = validate({"data": {"path": "PHOTOS"}})
    settings = {
        "model.backbone": "MobileNetV2",
        "augment.views": 1,
        "head.features": "taps",
        "fine_tune.unfreeze": "25%",
        "fine_tune.learning_rate": 1e-4,
    }
    good = [
        Trial(n, settings, "complete", 0.1, {}, {0: 0.3, 1: 0.2, 2: 0.1}, 1.0, 0.0)
        for n in range(tuning._PATIENT + 1)
    ]
    watched = tuning._Watched(tuning._Search(("MobileNetV2",), config, good))
    watched("fine_tune", 0, 9.0)  # The first epochs are forgiven.
    watched("train_head", 1, 9.0)  # So are other phases.
    with pytest.raises(Pruned):
        watched("fine_tune", 1, 9.0)
    better = tuning._Watched(tuning._Search(("MobileNetV2",), config, good))
    for epoch, loss in enumerate((0.2, 0.1, 0.05)):
        better("fine_tune", epoch, loss)
    assert better.losses == {0: 0.2, 1: 0.1, 2: 0.05}


def test_of_those_as_good_the_cheapest_is_the_best(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    losses = np.abs(rng.standard_normal(50))
    directory = tmp_path / "tune" / "digest"
    directory.mkdir(parents=True)

    def trial(number: int, more: np.ndarray, seconds: float) -> Trial:
        np.save(tmp_path / f"{number}.npy", losses + more)
        mean = float((losses + more).mean())
        return Trial(number, {}, "complete", mean, {}, {}, seconds, 0.0, f"{number}.npy")

    least, noisy = trial(0, np.zeros(50), 90.0), trial(1, 0.1 * rng.standard_normal(50) + 0.01, 9.0)
    worse = trial(2, np.full(50, 0.2), 1.0)
    given_up = Trial(3, {}, "pruned", None, {}, {0: 1.0}, 1.0, 0.0)
    config = validate({"data": {"path": "PHOTOS"}})
    found = Tuned((least, noisy, worse, given_up), config, directory)
    assert found.best is noisy


def test_what_is_refused(here: InProcess, tiny_recipe: Path) -> None:
    done = here("tune", tiny_recipe, "--trials", 0, "--store", here.store)
    assert done.returncode == 2
    assert "--trials must be at least 1, got 0" in done.stderr
    done = here("tune", tiny_recipe, "--giants", "Nope", "--store", here.store)
    assert done.returncode == 2
    assert "got 'Nope'" in done.stderr
