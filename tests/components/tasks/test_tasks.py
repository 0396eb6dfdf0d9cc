"""What is asked of an example: several labels, a number, several targets, and their mistakes."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pyarrow import parquet
from sklearn import metrics

from components.served.manifest import targets_of
from pipeline.lab.lab import Lab
from pipeline.records import past_runs
from pipeline.store import Store
from tests.conftest import InProcess
from tests.pipeline.studio.stores import client

LABELS = ("blue", "green", "red")
Call = Callable[..., tuple[int, str, str]]


def write_pictures(folder: Path, count: int) -> list[list[str]]:
    """Pictures whose colours are their labels: each has any of the three, or none."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, found = np.random.default_rng(0), []
    for position in range(count):
        there = rng.random(3) < 0.5
        pixels = rng.integers(0, 60, (16, 16, 3)) + 150 * there[::-1]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{position}.png")
        found.append([label for label, each in zip(LABELS, there, strict=True) if each])
    return found


def write_table(path: Path, columns: list[str], rows: Iterable[Iterable[Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(
        """
[model]
backbone = "ConvNet"
weights = "none"
[photos]
input_size = 16
[head]
epochs = 30
learning_rate = 0.03
[fine_tune]
epochs = 0
[bless]
beat_trivial = false
[control]
enabled = false
"""
    )
    return path


def pushed(here: InProcess, *arguments: object) -> tuple[dict[str, Any], Path]:
    result = here.result(*arguments)
    assert result["blessed"]
    return result, Path(result["pushed"])


def test_several_labels_end_to_end(here: InProcess, recipe: Path) -> None:
    """Thresholds travel with the model; rows without any label work; AUROC is scikit-learn's."""
    folder = here.directory / "pictures"
    answers = write_pictures(folder, 120)
    rows = [(f"{i}.png", "|".join(labels)) for i, labels in enumerate(answers)]
    table = write_table(folder / "t.csv", ["path", "label"], rows)
    result, model = pushed(
        here,
        *(recipe, "--data.path", table, "--task", "several_labels", "--data.separator", "|"),
        *("--bless.at-least", "auroc=0.9"),
    )
    manifest = json.loads((model / "MANIFEST.json").read_text())
    (target,) = targets_of(manifest)
    assert target.space.labels == LABELS
    assert len(target.space.thresholds) == 3
    lines = (model / "assets" / "thresholds.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == list(LABELS)

    stage = next(s for s in result["stages"] if s["name"] == "evaluate")
    told = Path(stage["artifact"])
    predictions = parquet.read_table(told / "predictions.parquet").to_pylist()
    details = json.loads((told / "metrics.json").read_text())["targets"][""]["labels"]
    assert any(row["answer"] == [] for row in predictions)
    for at, label in enumerate(LABELS):
        truth = [label in row["answer"] for row in predictions]
        scores = [row["probabilities"][at] for row in predictions]
        assert details[label]["auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert details["red"]["auroc"] > 0.9

    served = tf.saved_model.load(model).signatures["serving_default"]
    raws = [(folder / f"{i}.png").read_bytes() for i in range(8)] + [b"nothing"]
    answer = {name: value.numpy() for name, value in served(raw=tf.constant(raws)).items()}
    assert answer["valid"].tolist() == [True] * 8 + [False]
    for probabilities, named in zip(answer["probabilities"], answer["labels"], strict=True):
        given = [p >= t for p, t in zip(probabilities, target.space.thresholds, strict=True)]
        ranked = sorted(zip(-probabilities, LABELS, given, strict=True))
        wanted = [label for _, label, is_given in ranked if is_given]
        wanted = wanted if probabilities.any() else []
        assert [x.decode() for x in named] == wanted + [""] * (3 - len(wanted))
    assert "Labels</h2>" in Path(result["report"]).read_text()


def test_a_label_more_than_the_last_model_knows(here: InProcess, recipe: Path) -> None:
    """The last model is judged beside the new one, by the labels that it knows."""
    folder = here.directory / "pictures"
    answers = write_pictures(folder, 60)
    flags = ("--data.path", folder / "t.csv", "--task", "several_labels", "--data.separator", "|")
    for labels in (LABELS[:2], LABELS):
        rows = [
            (f"{i}.png", "|".join(each for each in own if each in labels))
            for i, own in enumerate(answers)
        ]
        write_table(folder / "t.csv", ["path", "label"], rows)
        result, _ = pushed(here, recipe, *flags, "--data.allow-new-labels")
    blessed = next(s for s in result["stages"] if s["name"] == "blessed.evaluate")
    assert blessed["status"] == "ran"
    assert set(blessed["stats"]) >= {"macro_f1", "auroc"}


def test_columns_of_0_and_1_are_the_same_labels(here: InProcess, recipe: Path) -> None:
    folder = here.directory / "pictures"
    answers = write_pictures(folder, 40)
    rows = [
        (f"{i}.png", *(int(label in labels) for label in LABELS))
        for i, labels in enumerate(answers)
    ]
    table = write_table(folder / "t.csv", ["path", *LABELS], rows)
    flags = ("--data.path", table, "--task", "several_labels", "--data.columns", "blue,green,red")
    plan = here("plan", recipe, *flags)
    assert plan.returncode == 0, plan.stderr
    jsonl = folder / "t.jsonl"
    jsonl.write_text(
        "".join(
            json.dumps({"path": f"{i}.png", "label": labels}) + "\n"
            for i, labels in enumerate(answers)
        )
    )
    plan = here("plan", recipe, "--data.path", jsonl, "--task", "several_labels")
    assert plan.returncode == 0, plan.stderr


def test_two_targets_some_of_whose_answers_are_missing(here: InProcess, recipe: Path) -> None:
    """A label and a number on one body; each is judged, and all are outputs of one signature."""
    folder = here.directory / "pictures"
    folder.mkdir()
    rng, rows = np.random.default_rng(0), []
    for i in range(120):
        bright = rng.uniform(40, 200)
        red = i % 2
        pixels = np.full((16, 16, 3), bright) + rng.normal(0, 5, (16, 16, 3))
        pixels[:, :, 0] += 55 * red
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        missing = rng.random(2) < 0.3
        rows.append(
            (
                f"{i}.png",
                "" if missing[0] else ("plain", "red")[red],
                "" if missing[1] else f"{bright:.2f}",
            )
        )
    rows[7] = (rows[7][0], "red", "NaN")
    rows[8] = (rows[8][0], "plain", "much")
    table = write_table(folder / "t.csv", ["path", "colour", "bright"], rows)
    result, model = pushed(
        here,
        *(recipe, "--data.path", table, "--balance", "uncertainty"),
        *("--target", "dropout=one_label:colour", "--target", "light=number:bright"),
        *("--bless.at-most", "light/mae=30", "--bless.at-least", "dropout/accuracy=0.6"),
    )
    ingest = next(s for s in result["stages"] if s["name"] == "ingest")["stats"]
    reasons = {row["name"]: row["reason"] for row in ingest["quarantine"]}
    assert reasons["7.png"] == "row 8 has 'NaN' in 'bright', which is no number"
    assert reasons["8.png"] == "row 9 has 'much' in 'bright', which is no number"
    figures = result["metrics"]["test"]
    assert {"dropout/accuracy", "light/mae", "light/r2"} <= figures.keys()
    assert figures["light/mae"] < 30
    served = tf.saved_model.load(model).signatures["serving_default"]
    raw = (folder / "0.png").read_bytes()
    answer = served(raw=tf.constant([raw, b"nothing"]))
    numbers = {"light/value", "light/deviation", "light/low", "light/high"}
    of_dropout = {f"dropout/{name}" for name in ("probabilities", "labels", "prediction_set")}
    assert answer.keys() == of_dropout | numbers | {"valid", "known", "distance", "nearest"}
    assert 0 < float(answer["light/deviation"][0]) < 30
    assert 20 < float(answer["light/value"][0]) < 230
    assert np.isnan(answer["light/value"][1])
    listed = here("runs", "--store", here.store).stdout
    assert "dropout/accuracy" in listed
    said = here("predict", model, folder / "0.png").stdout.split("\t")
    assert said[1:3] == ["valid", "plain"] or said[1:3] == ["valid", "red"]
    # In the studio, each target is explained, and an experiment looks at both.
    asked = client(here.store).post("/api/models/tiny/1/why", content=raw).json()
    assert asked["parts"] == 2
    (run,) = past_runs(here.store / "runs")
    with contextlib.closing(Lab(Store(here.store), run)) as lab:
        tried = lab.answer({"head.dropout": 0.5})
        names = {row["name"] for row in tried.beside(lab.answer({}))}
    assert names == tried.figures.keys() == {"loss", "dropout/accuracy", "light/mae"}


@pytest.mark.slow
def test_a_number_goes_on_from_the_last_model(here: InProcess, recipe: Path) -> None:
    """Warm start, when more examples have moved the mean: the head is carried to the new scale."""
    folder = here.directory / "pictures"
    folder.mkdir()
    rows = []
    for i in range(140):
        bright = 40 + i if i < 100 else 200.0
        Image.fromarray(np.full((16, 16, 3), bright, np.uint8) + np.uint8(i % 3)).save(
            folder / f"{i}.png"
        )
        rows.append((f"{i}.png", 1000 + 10 * bright))
    asked = ["--task", "number", "--data.columns", "bright", "--model.warm-start", "blessed"]
    asked += ["--fine-tune.unfreeze", "1", "--fine-tune.epochs", "1", "--bless.max-drop", "1"]
    write_table(folder / "t.csv", ["path", "bright"], rows[:100])
    pushed(here, recipe, "--data.path", folder / "t.csv", *asked)
    write_table(folder / "t.csv", ["path", "bright"], rows)
    result, _ = pushed(here, recipe, "--data.path", folder / "t.csv", *asked)
    stages = {stage["name"]: stage for stage in result["stages"]}
    assert stages["train_head"]["status"] == "skipped"
    before = stages["fine_tune"]["stats"]["before_val_mae"]
    last = stages["blessed.evaluate"]["stats"]["mae"]
    assert before == pytest.approx(last, rel=0.6)  # One on validation, the other on test examples.


BAD: list[tuple[list[str], list[list[Any]], list[str], str]] = [
    (["path", "label"], [[f"{i}.png", i / 7] for i in range(9)], [], "say --task number"),
    (
        ["path", "label"],
        [[f"{i}.png", "ab"[i % 2]] for i in range(9)],
        ["--task", "number"],
        "must have examples that can be used, got",
    ),
    (
        ["path", "label"],
        [[f"{i}.png", 3] for i in range(9)],
        ["--task", "number"],
        "must have numbers that differ",
    ),
    (
        ["path", "lable"],
        [[f"{i}.png", "ab"[i % 2]] for i in range(9)],
        [],
        "must have the column 'label', got",
    ),
    (
        ["path", "age"],
        [[f"{i}.png", i % 4] for i in range(9)],
        ["--task", "number", "--data.columns", "aged"],
        "did you mean age",
    ),
    (
        ["path", "a", "b"],
        [[f"{i}.png", i % 2, 2] for i in range(9)],
        ["--task", "several_labels", "--data.columns", "a,b"],
        "row 1 has '2' in 'b', which is neither 0 nor 1",
    ),
    (
        ["path", "toxic"],
        [[f"{i}.png", i % 2] for i in range(9)],
        ["--task", "several_labels", "--data.columns", "toxic"],
        "where there is one question, say --task one_label",
    ),
    (
        ["path", "a", "never"],
        [[f"{i}.png", i % 2, 0] for i in range(27)],
        ["--task", "several_labels", "--data.columns", "a,never"],
        "got none with 'never'",
    ),
    (
        ["path", "a", "split"],
        [[f"{i}.png", i % 2, ("train", "test", "validation")[i // 9]] for i in range(27)],
        ["--task", "number", "--data.columns", "a", "--data.labels-per-class", "3"],
        "data.labels_per_class must be left out",
    ),
]


@pytest.mark.parametrize(("columns", "rows", "flags", "said"), BAD, ids=[x[-1] for x in BAD])
def test_tables_that_will_not_do(
    in_process: Call,
    recipe: Path,
    tmp_path: Path,
    columns: list[str],
    rows: list[list[Any]],
    flags: list[str],
    said: str,
) -> None:
    write_pictures(tmp_path, 27)
    table = write_table(tmp_path / "t.csv", columns, rows)
    status, _, err = in_process("run", recipe, "--data.path", table, *flags, "--store", "s")
    assert status == 2
    assert said in err.splitlines()[-1], err


def test_a_label_that_is_never_there_in_train(
    in_process: Call, recipe: Path, tmp_path: Path
) -> None:
    answers = write_pictures(tmp_path, 30)
    splits = ["train"] * 18 + ["validation"] * 6 + ["test"] * 6
    rows = [
        [f"{i}.png", "|".join([*labels, "rare"] if split == "test" else labels), split]
        for i, (labels, split) in enumerate(zip(answers, splits, strict=True))
    ]
    table = write_table(tmp_path / "t.csv", ["path", "label", "split"], rows)
    flags = ("--task", "several_labels", "--data.separator", "|", "--store", "s")
    status, _, err = in_process("run", recipe, "--data.path", table, *flags)
    assert status == 2
    assert "must have examples of every label in train, got none with 'rare'" in err


COMMANDS = [
    (["--target", "a=one_label:x", "--target", "a=number:y"], "got 'a' twice"),
    (["--target", "one_label:x"], "--target must be NAME=TASK:COLUMN, got 'one_label:x'"),
    (["--target", "A b=one_label:x"], "targets must have names of small letters"),
    (["--bless.at-least", "mae=3"], "must name a figure of the task, got 'mae=3'"),
    (["--task", "number", "--bless.at-most", "mea=3"], "did you mean mae"),
    (
        ["--task", "number", "--head.monitor", "val_accuracy"],
        "head.monitor must be what is watched",
    ),
    (["--pretrain.monitor", "val_acuracy"], "pretrain.monitor must be what is watched"),
    (["--pretrain.data.separator", "|"], "pretrain.data must have one label for each example"),
    (["--data.separator", "|"], "data.separator must be for several labels in one column"),
    (["--model.input-size", "32"], "--model.input-size is now --photos.input-size"),
    (["--bless.no-beat-majority"], "is now --bless.beat-trivial"),
    (["--bless.min-accuracy=0.5"], "is now --bless.at-least accuracy=VALUE"),
    (["--head.class-weights", "balanced"], "is now --one-label.class-weights"),
    (["--data.slices", "camera,width"], "data.slices must name columns once that are called other"),
    (["--fine-tune.l2-sp", "1", "--fine-tune.lora-rank", "2"], "fine_tune.l2_sp must be 0 with"),
]


@pytest.mark.parametrize(("flags", "said"), COMMANDS, ids=[x[-1] for x in COMMANDS])
def test_commands_that_will_not_do(
    in_process: Call, recipe: Path, flags: list[str], said: str
) -> None:
    status, _, err = in_process("run", recipe, "--data.path", "digits", *flags, "--store", "s")
    assert status == 2
    assert said in err.splitlines()[-1], err
    assert len(err.splitlines()) == 1


def test_folders_have_one_label(in_process: Call, recipe: Path, photos: Path) -> None:
    for flags in (("--task", "several_labels", "--data.separator", "|"), ("--task", "number")):
        status, _, err = in_process("run", recipe, "--data.path", photos, *flags, "--store", "s")
        assert status == 2
        assert "must be a table, .csv or .jsonl, where more than one label" in err


def test_keys_that_have_moved(in_process: Call, tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text("[model]\ninput_size = 32\n")
    status, _, err = in_process("show", path)
    assert status == 2
    assert "old.toml: model.input_size is now photos.input_size" in err


def test_what_is_shown_is_toml_and_the_same_config(in_process: Call, tmp_path: Path) -> None:
    """Also where a string has a line break, and with several targets."""
    flags = ("--bless.force", "one\ntwo", "--target", "a=one_label:x", "--target", "b=number:y")
    status, out, err = in_process("show", "photos", *flags)
    assert status == 0, err
    (tmp_path / "again.toml").write_text(out)
    assert in_process("show", "again.toml")[1] == out
