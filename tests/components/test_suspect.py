"""Labels that are likely wrong are found, can be corrected by hand, and are then no suspects."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.tasks import number, one_label, several_labels
from components.tasks.protocol import Space
from components.training import questioning
from tests.conftest import InProcess, write_classes

LABELS = Space(labels=("a", "b", "c"))


def test_of_one_label() -> None:
    """Not what is least probable, but what is as probable to be another as those that are."""
    answers = ["a", "a", "a", "b", "b", "c", None]
    outputs = np.array(
        [
            *([0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.85, 0.05]),
            *([0.3, 0.7, 0.0], [0.2, 0.8, 0.0], [0.4, 0.35, 0.25], [1.0, 0.0, 0.0]),
        ]
    )
    [found] = one_label.doubts(answers, outputs, LABELS)
    assert (found.position, found.suggested) == (2, "b")
    assert found.doubt == pytest.approx(0.75)
    assert one_label.doubts([], outputs[:0], LABELS) == []


def test_labels_that_are_the_same_thing_are_named() -> None:
    rng = np.random.default_rng(0)
    answers = [*("a" * 60), *("b" * 60), *("c" * 60)]
    outputs = np.full((180, 3), 0.05)
    outputs[:60, 0] = outputs[60:120, 1] = outputs[120:, 2] = 0.9
    mixed = rng.random(120)  # Whatever is called a or b: it is as likely to be either.
    outputs[:120, :2] = 0.95 * np.stack([mixed, 1 - mixed], axis=1)
    [pair] = one_label.twins(answers, outputs, LABELS)
    assert {pair.one, pair.other} == {"a", "b"}
    assert pair.low < 0.5 < pair.high
    clear = outputs.copy()
    clear[:60, :2], clear[60:120, :2] = (0.8, 0.15), (0.15, 0.8)
    clear[3, :2] = clear[4, :2] = (0.15, 0.8)
    assert one_label.twins(answers, clear, LABELS) == []


def test_of_several_labels() -> None:
    answers = [["a"], ["a"], ["a", "b"], [], [], ["b"], None]
    there, not_there = 0.9, 0.1
    outputs = np.array(
        [
            *([there, not_there, 0.5], [not_there, not_there, 0.5], [there, there, 0.5]),
            *([not_there, not_there, 0.5], [there, not_there, 0.5]),
            *([not_there, there, 0.5], [0.5, 0.5, 0.5]),
        ]
    )
    found = {
        doubt.position: doubt.suggested for doubt in several_labels.doubts(answers, outputs, LABELS)
    }
    assert found == {1: [], 4: ["a"]}


def test_of_a_number() -> None:
    space = Space(mean=100.0, deviation=10.0)
    said = np.linspace(-1, 1, 41)
    answers: list[Any] = [100 + 10 * x + (0.1 if i % 2 else -0.1) for i, x in enumerate(said)]
    answers[7] += 30
    answers[9] = None
    [found] = number.doubts(answers, said[:, None], space)
    assert found.position == 7
    assert found.suggested == pytest.approx(100 + 10 * said[7], abs=1e-3)


def suspects(result: dict[str, Any]) -> tuple[Path, list[dict[str, str]]]:
    [stage] = [each for each in result["stages"] if each["name"] == "suspect"]
    path = Path(stage["artifact"]) / "suspects.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return path, list(csv.DictReader(file))


def test_from_suspect_to_patch(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several rounds of few examples, as of many; and what is taps or the last layer alone."""
    monkeypatch.setattr(questioning, "_TOGETHER", 40)
    photos = write_classes(tmp_path / "photos", 60)
    wrong = {f"ant/{n}.jpeg" for n in (1, 3, 5)}
    for name in wrong:
        (photos / name).rename(photos / "bee" / f"ant-{Path(name).name}")
    odd = photos / "bee" / "odd.jpeg"
    keras.utils.save_img(odd, np.full((64, 64, 3), 255.0), scale=False)
    here = InProcess(tmp_path)
    asked = (tiny_recipe, "--fine-tune.epochs", 0, "--bless.force", "a test")
    path, rows = suspects(here.result(*asked))
    by_name = {row["name"]: row for row in rows}
    moved = [f"bee/ant-{n}.jpeg" for n in (1, 3, 5)]
    found = [name for name in moved if name in by_name]
    assert len(found) >= 2, rows  # One of them may be a test example, which nobody questions.
    assert {by_name[name]["suggested"] for name in found} == {"ant"}
    assert [row["rank"] for row in rows] == [str(n + 1) for n in range(len(rows))]

    with (path.parent / "outliers.csv").open(encoding="utf-8", newline="") as file:
        [outlier] = csv.DictReader(file)
    assert (outlier["name"], outlier["given"], outlier["action"]) == ("bee/odd.jpeg", "bee", "")

    looked_at = tmp_path / "looked-at.csv"
    for row in rows:
        row["action"] = "relabel" if row["name"] == found[0] else ""
        row["action"] = "drop" if row["name"] == found[1] else row["action"]
    with looked_at.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    result = here.result(*asked, "--data.patch", looked_at)
    [ingest] = [each for each in result["stages"] if each["name"] == "ingest"]
    index = (Path(ingest["artifact"]) / "index.jsonl").read_text().splitlines()
    answers = {row["name"]: row["answers"] for row in map(json.loads, index)}
    assert answers[found[0]] == ["ant"]
    assert found[1] not in answers
    _, left = suspects(result)
    assert not {row["name"] for row in left} & set(found[:2])

    path.write_text("id,action\nnobody,drop\n")
    told = here("run", *asked, "--data.patch", path)
    assert told.returncode == 2
    assert "data.patch must name examples that there are, got 1 that are not" in told.stderr
