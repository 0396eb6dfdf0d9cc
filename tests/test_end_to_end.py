"""The whole flow, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from components.served.versions import JOURNAL, ServingDirectory
from tests.conftest import ROOT, CommandLine, InProcess, picture

HEAD_ONLY = ("train_head", "fine_tune", "export", "evaluate", "blessed.evaluate", "bless", "push")


def statuses(result: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {stage["name"]: stage["status"] for stage in result["stages"]}


def test_pulse(command_line: CommandLine, here: InProcess, tiny_recipe: Path, photos: Path) -> None:
    """Pushed; reused; a changed setting; a changed photograph; a changed label set."""
    first = command_line.result(tiny_recipe)
    assert set(statuses(first).values()) == {"ran"}
    assert Path(first["pushed"]).name == "1"
    assert first["metrics"]["test"]["accuracy"] > 0.5
    assert "<svg" in Path(first["report"]).read_text()
    assert first["blessed"] is True
    assert (first["outcome"], first["version"]) == ("pushed", 1)

    again = here.result(tiny_recipe)
    assert set(statuses(again).values()) == {"reused"}
    assert again["pushed"] == first["pushed"]
    assert (again["outcome"], again["version"]) == ("unchanged", 1)
    told = here("run", tiny_recipe, "--store", here.store)
    assert told.stdout.startswith("unchanged, version 1 is still served after ")
    assert "There is no blessed model yet" not in told.stdout
    listed = here("runs", tiny_recipe.stem, "--store", here.store).stdout
    assert listed.count("unchanged, version 1 is still served") == 2
    serving = Path(first["pushed"]).parent
    assert sorted(path.name for path in serving.iterdir()) == [JOURNAL, "1"]

    changed = statuses(here.result(tiny_recipe, "--head.learning-rate", "0.02"))
    ran = {name for name, status in changed.items() if status == "ran"}
    assert {"train_head", "export"} <= ran
    assert not ran & {"ingest", "validate", "assemble", "extract"}

    swapped = photos / "ant" / "0.png"
    before = swapped.stat()
    other = picture(0, 999)
    other = (other + bytes(before.st_size))[: before.st_size]
    swapped.write_bytes(other)
    os.utime(swapped, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert swapped.stat().st_size == before.st_size
    assert statuses(here.result(tiny_recipe))["ingest"] == "ran"

    (photos / "bee").rename(photos / "wasp")
    refused = here.run(tiny_recipe)
    assert refused.returncode == 2
    assert (
        refused.stderr.strip()
        .splitlines()[-1]
        .endswith(
            "got new labels wasp and lost labels bee: say --data.allow-new-labels if this is meant"
        )
    )
    told = here.result(tiny_recipe, "--data.allow-new-labels")
    assert statuses(told)["ingest"] == "reused"


def test_the_recipe_may_stand_anywhere(here: InProcess, tiny_recipe: Path) -> None:
    for arguments in (
        [tiny_recipe, "--seed", "3"],
        ["--seed", "3", tiny_recipe],
        ["--seed", "3", "--recipe", tiny_recipe],
    ):
        shown = here("show", *arguments).stdout
        assert "seed = 3 " in shown
        assert 'weights = "none"' in shown


@pytest.mark.slow
def test_a_label_change_is_accepted_once_and_another_threshold_pushes_nothing(
    here: InProcess, tiny_recipe: Path, photos: Path
) -> None:
    """What an unattended schedule does for weeks."""
    serving = ("--serving-dir", "models")  # Relative: the record must not depend on that.
    assert Path(here.result(tiny_recipe, *serving)["pushed"]).name == "1"
    (photos / "bee").rename(photos / "wasp")
    assert here.run(tiny_recipe, *serving).returncode == 2
    told = here.result(tiny_recipe, *serving, "--data.allow-new-labels")
    assert Path(told["pushed"]).name == "2"
    cron = here.result(tiny_recipe, *serving)
    assert cron["pushed"] == told["pushed"]
    again = here.result(tiny_recipe, *serving)
    assert set(statuses(again).values()) == {"reused"}
    stricter = here.result(tiny_recipe, *serving, "--bless.at-least", "accuracy=0.1")
    assert stricter["pushed"] == told["pushed"]
    assert ServingDirectory(here.directory / "models").versions() == [1, 2]


def test_not_blessed_is_not_pushed_unless_forced(
    here: InProcess, tiny_recipe: Path, photos: Path
) -> None:
    for number in range(0, 20, 2):  # Half the ants are called bees: nobody can tell them apart.
        (photos / "ant" / f"{number}.png").rename(photos / "bee" / f"ant-{number}.png")
    arguments = ("--bless.at-least", "accuracy=1", "--head.epochs", "1")
    refused = here.run(tiny_recipe, *arguments)
    result = json.loads(refused.stdout)
    assert refused.returncode == 3
    assert result["pushed"] is None
    assert "at least 1 is asked for" in result["reasons"][0]
    assert not (here.store / "serving").exists()

    forced = here.result(tiny_recipe, *arguments, "--bless.force", "it is a test")
    assert forced["reasons"][0] == "Blessing was forced: it is a test."
    assert Path(forced["pushed"]).name == "1"


@pytest.mark.slow
def test_killed_and_told_to_stop(command_line: CommandLine, tiny_recipe: Path) -> None:
    """Killed anywhere, the same command goes on; told to stop, it says so with 143."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(tiny_recipe)]
    command += ["--store", str(command_line.store)]
    for wait, how, status in ((3.0, signal.SIGKILL, -9), (4.5, signal.SIGTERM, 143)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        time.sleep(wait)
        if process.poll() is None:
            process.send_signal(how)
            process.wait()
            assert process.returncode == status
        assert process.stderr is not None
        process.stderr.close()
    outcomes = json.loads(command_line("runs", "--store", command_line.store, "--json").stdout)
    assert {run["outcome"] for run in outcomes} <= {"killed", "stopped", "pushed"}
    assert Path(command_line.result(tiny_recipe)["pushed"]).name == "1"


@pytest.mark.slow
def test_a_corrupted_activation_is_noticed_and_computed_again(
    here: InProcess, tiny_recipe: Path
) -> None:
    first = here.result(tiny_recipe)
    shard = max(here.store.glob("activations/*/*.bin"), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = here.run(tiny_recipe, "--head.learning-rate", "0.02")
    assert done.returncode == 0
    assert "activations were damaged and are computed again" in done.stderr
    assert statuses(json.loads(done.stdout))["extract"] == "ran"
    assert first["blessed"]


def test_one_run_at_a_time(here: InProcess, tiny_recipe: Path) -> None:
    from pipeline.store import Store

    with Store(here.store).lock():
        held = here.run(tiny_recipe)
    assert held.returncode == 4
    assert "is held by another run" in held.stderr


def test_reuse_plan_and_help_do_not_import_tensorflow(here: InProcess, tiny_recipe: Path) -> None:
    here.result(tiny_recipe)
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import run_pipeline; "
        "status = run_pipeline.main(sys.argv[1:]); "
        "sys.exit(99 if 'tensorflow' in sys.modules or 'keras' in sys.modules else status)"
    )
    store = ["--store", str(here.store)]
    for arguments in (
        ["run", str(tiny_recipe), *store],
        ["plan", str(tiny_recipe), *store],
        ["runs", *store],
        ["--help"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, str(ROOT), *arguments],
            capture_output=True,
            text=True,
            cwd=here.directory,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)


@pytest.mark.parametrize(
    "kills",
    [pytest.param(4, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.exhaustive)],
)
def test_killed_at_random_moments_of_training(
    command_line: CommandLine, tiny_recipe: Path, tmp_path: Path, kills: int
) -> None:
    """Every killed run goes on by running it again, and ends with the same weights, bit by bit."""
    training = ["--head.epochs", "300", "--head.patience", "300", "--head.batch-size", "2"]
    training += ["--fine-tune.epochs", "80", "--fine-tune.patience", "80"]
    training += ["--fine-tune.batch-size", "2", "--bless.force", "a test"]
    whole = command_line.result(tiny_recipe, *training)

    def digests(result: dict[str, list[dict[str, str]]]) -> list[str]:
        stages = {stage["name"]: Path(stage["artifact"]) for stage in result["stages"]}
        manifests = [stages[name] / "artifact.json" for name in ("train_head", "fine_tune")]
        return [json.loads(path.read_text())["digest"] for path in manifests]

    moments = np.random.default_rng(7)
    killed = resumed = number = 0
    while killed < kills:
        number += 1
        store = tmp_path / f"store{number}"
        command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(tiny_recipe), "--json"]
        command += ["--store", str(store), *training]
        while True:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            in_training = False
            while process.poll() is None and not in_training and killed < kills:
                in_training = bool(list(store.glob("scratch/train_head-*"))) or bool(
                    list(store.glob("scratch/fine_tune-*"))
                )
                time.sleep(0.01)
            try:
                limit = None if killed >= kills else moments.uniform(0.2, 2.5)
                out, _ = process.communicate(timeout=limit)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
        assert process.returncode == 0
        assert digests(json.loads(out)) == digests(whole)
        resumed += 1
    assert resumed
