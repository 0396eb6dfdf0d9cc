"""What belongs together is on one side of every split."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Examples
from components.examples.sources import find_source
from components.examples.tables import Headings
from components.ingest import DataConfig, ingest
from components.section import BeamConfig
from components.validate import validate
from models.mistakes import Mistake
from tests.conftest import InProcess, write_classes
from tests.helpers import ingested, job


def write_table(path: Path, groups: int, each: int = 3, split: bool = False) -> Path:
    """Texts by so many people, of both classes each; the first two say one thing alike."""
    rows = ["text,label,who" + (",split" if split else "")]
    for group in range(groups):
        for number in range(each):
            for label in ("bad", "good"):
                text = f"{label} film {group} {number}"
                if group < 2 and number == 0:
                    text = f"the {label} one that everybody quotes"
                place = f",{('train', 'test', 'validation')[number % 3]}" if split else ""
                rows.append(f"{text},{label},person {group}{place}")
    path.write_text("\n".join(rows) + "\n")
    return path


def places(examples: Examples) -> dict[str, set[str]]:
    """Each group → the splits that it is in."""
    found = defaultdict(set)
    for line in (examples.directory / "index.jsonl").read_text().splitlines():
        row = json.loads(line)
        found[row["group"]].add(row["split"])
    return found


def made(tmp_path: Path, name: str, table: Path, **config: Any) -> Examples:
    return ingested(tmp_path / name, table, modality="text", group="who", **config)


def test_a_group_is_on_one_side_and_stays_there(tmp_path: Path) -> None:
    few = places(made(tmp_path, "few", write_table(tmp_path / "few.csv", 20)))
    assert len(few) == 20
    assert all(len(splits) == 1 for splits in few.values())
    assert {split for splits in few.values() for split in splits} == {"train", "validation", "test"}
    assert few["person 0"] == few["person 1"]  # They have said the same.
    more = places(made(tmp_path, "more", write_table(tmp_path / "more.csv", 21)))
    assert sum(more[who] != splits for who, splits in few.items()) <= 2


def test_a_beam_runner_gives_the_same(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", 12)
    config = DataConfig(path=str(table), modality="text", group="who")
    source = find_source(str(table), modality="text", headings=Headings(group="who"))
    beam = dataclasses.replace(job(tmp_path / "b"), beam=BeamConfig(runner="DirectRunner"))
    there = ingest(beam, source, config)
    assert places(there) == places(made(tmp_path, "a", table))


def test_splits_that_are_given_are_kept_and_torn_groups_are_told(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", 6, split=True)
    rows = [row for row in table.read_text().splitlines() if "everybody" not in row]
    table.write_text("\n".join(rows) + "\n")
    examples = made(tmp_path, "e", table)
    assert all(len(splits) > 1 for splits in places(examples).values())
    checks = validate(job(tmp_path / "checks"), examples, None, False)
    told = [warning for warning in checks.warnings if "groups" in warning]
    assert told == [
        "6 of 6 groups are in more than one split, such as 'person 0', which flatters the figures."
    ]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--data.group", "whom"], "data.group must have the column 'whom'"),
        (["--data.group", "label"], "data.group must name at least 3 groups"),
        (["--data.group", "who", "--data.labels-per-class", 5], "data.labels_per_class must be"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, flags: list[Any], told: str) -> None:
    table = write_table(tmp_path / "t.csv", 6)
    done = InProcess(tmp_path)("plan", "sentiment", table, "--model.weights", "none", *flags)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_folder_has_no_groups(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"data\.group must name columns of a table"):
        ingested(tmp_path / "e", write_classes(tmp_path / "photos", 8), group="who")


def write_folds(path: Path, split: str = "") -> Path:
    """60 texts in three folds."""
    rows = [f"text,label,fold{',split' if split else ''}"]
    for number in range(60):
        label = ("bad", "good")[number % 2]
        rows.append(f"{label} film {number},{label},{number // 2 % 3 + 1}{split}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_each_fold_is_tested_on_once(tmp_path: Path) -> None:
    """Cross-validation: what is tested on in one is trained on in the others."""
    table = write_folds(tmp_path / "folds.csv")
    tested: list[set[str]] = []
    for fold in ("1", "2", "3"):
        examples = ingested(tmp_path / fold, table, modality="text", fold=fold)
        rows = [
            json.loads(x) for x in (examples.directory / "index.jsonl").read_text().split("\n") if x
        ]
        tested.append({row["id"] for row in rows if row["split"] == "test"})
        assert len(rows) == 60
        assert examples.counts["validation"] == pytest.approx(6, abs=2)
    assert [len(each) for each in tested] == [20, 20, 20]
    assert len(set.union(*tested)) == 60


@pytest.mark.parametrize(
    ("fold", "split", "told"),
    [
        ("4", "", r"data\.fold must be one of two or more in the column 'fold', got '4'.*'1', '2'"),
        ("1", ",train", r"data\.fold must be left out where there is a column 'split'"),
    ],
)
def test_folds_that_cannot_be(tmp_path: Path, fold: str, split: str, told: str) -> None:
    table = write_folds(tmp_path / "folds.csv", split)
    with pytest.raises(Mistake, match=told):
        ingested(tmp_path / "made", table, modality="text", fold=fold)
