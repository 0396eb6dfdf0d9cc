"""Shoulders from Python: the same runs, as records and data frames; the notebook; the wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import nbclient
import nbformat
import pytest

from pipeline import api
from tests.conftest import ROOT, picture


def test_runs_plans_and_predictions(tmp_path: Path, tiny_recipe: Path) -> None:
    store, recipe = tmp_path / "store", str(tiny_recipe)
    changes = {"head": {"epochs": 3}, "fine_tune.epochs": 1}
    before = api.plan(recipe, changes, store=store)
    assert set(before.stages["status"]) == {"would run"}
    assert before.stages["seconds"].isna().all()
    result = api.run(recipe, changes, store=store)
    assert (result.outcome, result.version) == ("pushed", 1)
    assert list(result.stages.index) == [step.name for step in result.steps]
    assert result.figures.loc["accuracy", "model"] == result.metrics["test"]["accuracy"]
    assert "BLESSED" in result._repr_html_()
    again = api.run(recipe, changes, store=store)
    assert again.verdict == "unchanged, version 1 is still served"
    assert [record.outcome for record in api.runs(store)] == ["pushed", "unchanged"]
    other = api.plan(recipe, {**changes, "head.learning_rate": 0.5}, store=store)
    assert other.stages.loc["train_head", "why"] == "--head.learning-rate: 0.01 → 0.5"
    assert other.stages.loc["train_head", "seconds"] > 0
    assert other.stages.loc["extract", "status"] == "reused"
    (tmp_path / "a.png").write_bytes(picture(0, 7))
    (tmp_path / "b.png").write_text("none")
    model = api.load(store / "serving" / tiny_recipe.stem)
    assert model.title == f"{tiny_recipe.stem}/1 reads pictures and says ant, bee"
    said = model.predict([tmp_path / "a.png", tmp_path / "b.png"])
    assert list(said.frame["valid"]) == [True, False]
    assert said[0].as_json()["label"] in ("ant", "bee")


def test_mistakes_are_told_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(api.Mistake, match=r"changes must have keys .* did you mean epochs"):
        api.plan("digits", {"head.epoch": 3}, store=tmp_path)
    with pytest.raises(api.Mistake, match="MODEL must be the directory of a version"):
        api.load(tmp_path / "nowhere")


def test_changes_are_folded_and_nobody_elses_dict_is_touched() -> None:
    given = {"dropout": 0.3}
    config = api.configured("digits", {"head.epochs": 4, "head": given, "head.hidden": 8})
    assert (config.head.epochs, config.head.dropout, config.head.hidden) == (4, 0.3, 8)
    assert given == {"dropout": 0.3}
    with pytest.raises(api.Mistake, match="must be a section, got 3"):
        api.configured("digits", {"head": 3})


def test_a_push_that_no_run_has_told_of_is_told_of(tmp_path: Path, tiny_recipe: Path) -> None:
    """A run that is killed after its push: the next one says `pushed`, and not the one after."""
    store, changes = tmp_path / "store", {"head.epochs": 1, "fine_tune.epochs": 0}
    first = api.run(str(tiny_recipe), changes, store=store)
    record = store / "runs" / f"{first.run_id}.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps(told | {"outcome": "stopped", "pushed": None}))
    assert api.run(str(tiny_recipe), changes, store=store).outcome == "pushed"
    assert api.run(str(tiny_recipe), changes, store=store).outcome == "unchanged"
    views = api.plan(str(tiny_recipe), {**changes, "augment.views": 3}, store=store).stages["why"]
    assert "--augment.views: 1 → 3" in views["extract"]
    balance = api.plan(str(tiny_recipe), {**changes, "balance": "uncertainty"}, store=store)
    assert balance.stages.loc["train_head", "why"] == "--balance: false → true"


def test_plan_compares_with_the_same_recipe(tmp_path: Path, tiny_recipe: Path) -> None:
    """Another recipe's runs in the store are nobody's earlier ones."""
    changes = {"head.epochs": 1, "fine_tune.epochs": 0}
    api.run(str(tiny_recipe), changes, store=tmp_path / "store")
    other = tmp_path / "other.toml"
    other.write_text(tiny_recipe.read_text())
    found = api.plan(str(other), {**changes, "data.test_fraction": 0.3}, store=tmp_path / "store")
    assert found.stages.loc["ingest", "why"] == "never run"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    said = nbformat.writes(notebook)
    assert "still served" in said
    assert "did you mean epochs" in said
    clean = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in clean.cells)


@pytest.mark.slow
def test_the_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    """In an environment that has what is locked, and nothing of the checkout."""
    python = sys.executable
    build = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    copy = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    subprocess.run([*build, "-w", str(tmp_path), str(copy)], check=True, env=environment)
    (wheel,) = tmp_path.glob("shoulders-*.whl")
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=True)
    (site,) = fresh.glob("lib/python*/site-packages")
    locked = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "locked.pth").write_text(locked)
    install = [str(fresh / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True, env=environment)
    command = str(fresh / "bin" / "shoulders")
    small = ["--pretrain.epochs", "2", "--head.epochs", "2", "--fine-tune.epochs", "2"]
    done = subprocess.run(
        [command, "run", "digits", *small, "--control.epochs", "2", "--bless.force", "a test"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("BLESSED")
    where = [str(fresh / "bin" / "python"), "-c", "import pipeline; print(pipeline.__file__)"]
    found = subprocess.run(
        where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(fresh))
