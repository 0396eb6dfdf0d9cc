"""Ingest: every layout, ids, splits, duplicates and the quarantine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds

from components.artifacts import Examples
from components.examples.sources import find_source
from components.examples.tables import SPLITS
from components.files import read_jsonl
from components.ingest import DataConfig, ingest
from components.modalities.table import MODALITIES
from components.section import BeamConfig
from components.tasks.protocol import Column, Space, Target
from components.validate import validate
from models.mistakes import Mistake
from pipeline.config import Config
from tests.conftest import picture, write_classes
from tests.helpers import ingested, job, tfds_of


def index(examples: Examples) -> list[dict[str, Any]]:
    return list(read_jsonl(examples.directory / "index.jsonl"))


def placed(examples: Examples) -> set[tuple[str, str, str]]:
    return {(row["id"], row["answers"][0], row["split"]) for row in index(examples)}


def test_class_folders(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "a", photos)
    assert examples.targets[0].space.labels == ("ant", "bee")
    assert examples.counts == {"train": 28, "validation": 6, "test": 6}
    counts = Counter((row["answers"][0], row["split"]) for row in index(examples))
    assert {counts[label, "test"] for label in examples.targets[0].space.labels} == {3}
    for row in index(examples):
        content = (photos / row["name"]).read_bytes()
        assert row["id"] == hashlib.sha256(content).hexdigest()[:32]


def test_any_tool_reads_it(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "a", photos)
    builder = tfds.builder_from_directory(examples.dataset)
    rows = list(builder.as_dataset(split="test", as_supervised=True).as_numpy_iterator())
    assert len(rows) == 6
    assert rows[0][0].shape == (24, 24, 3)
    assert builder.info.features["label"].names == ["ant", "bee"]


def test_splits_that_are_given_are_kept_and_the_missing_one_is_carved(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_classes(root / "train", 20)
    for label in ("ant", "bee"):
        (root / "test" / label).mkdir(parents=True)
        for number in range(4):
            raw = picture(["ant", "bee"].index(label), 100 + number)
            (root / "test" / label / f"{number}.png").write_bytes(raw)
    examples = ingested(tmp_path / "a", root)
    assert examples.counts == {"train": 34, "validation": 6, "test": 8}
    assert all(r["name"].startswith("test/") == (r["split"] == "test") for r in index(examples))
    shutil.copytree(root / "test", root / "val")
    for path in (root / "val").rglob("*.png"):
        path.write_bytes(picture(3, int(path.stem) + 7 * len(path.parent.name)))
    assert ingested(tmp_path / "b", root).counts == {"train": 40, "validation": 8, "test": 8}


def test_tables_give_what_folders_give(tmp_path: Path, photos: Path) -> None:
    folder = ingested(tmp_path / "folder", photos)
    rows = [
        {"path": str(path.relative_to(tmp_path)), "label": path.parent.name}
        for path in sorted(photos.rglob("*.*g"))
    ]
    lines = [f"{row['path']},{row['label']}" for row in rows]
    (tmp_path / "all.csv").write_text("\n".join(["path,label", *lines]))
    (tmp_path / "all.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert placed(ingested(tmp_path / "csv", tmp_path / "all.csv")) == placed(folder)
    assert placed(ingested(tmp_path / "jsonl", tmp_path / "all.jsonl")) == placed(folder)


def test_a_table_may_say_the_split_and_name_what_is_not_there(tmp_path: Path, photos: Path) -> None:
    paths = sorted(photos.rglob("*.*g"))
    lines = [f"{p},{p.parent.name},{'test' if p.stem in {'1', '2'} else 'train'}" for p in paths]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *lines, "gone.png,ant,train"]))
    examples = ingested(tmp_path / "a", tmp_path / "t.csv")
    assert examples.counts["test"] == 4
    [bad] = read_jsonl(examples.directory / "quarantine.jsonl")
    assert bad["name"] == "gone.png"
    assert bad["reason"] == "cannot be read: No such file or directory"


def test_a_folder_of_tables_named_after_splits(tmp_path: Path, photos: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    paths = sorted(photos.rglob("*.*g"))
    for split, some in (("train", paths[::2]), ("test", paths[1::2])):
        lines = [f"{path},{path.parent.name}" for path in some]
        (tables / f"{split}.csv").write_text("\n".join(["path,label", *lines]))
    examples = ingested(tmp_path / "a", tables, root=str(tmp_path))
    assert examples.counts == {"train": 16, "validation": 4, "test": 20}
    with pytest.raises(Mistake, match=rf"is outside {tables}: --data.root"):
        ingested(tmp_path / "b", tables)


def test_a_dataset_of_tfds(tmp_path: Path, photos: Path) -> None:
    """Its own splits are kept: ids, labels and splits are those of the dataset."""
    first = ingested(tmp_path / "a", photos)
    again = ingested(tmp_path / "b", f"tfds:{first.dataset}")
    assert placed(again) == placed(first)


def test_digits_need_nothing(tmp_path: Path) -> None:
    examples = ingested(tmp_path / "a", "digits", classes=("3", "8"), labels_per_class=10)
    assert examples.targets[0].space.labels == ("3", "8")
    assert examples.counts["train"] + examples.counts["validation"] == 20


def test_more_data_moves_next_to_nobody_between_splits(tmp_path: Path) -> None:
    before = {
        r["id"]: r["split"]
        for r in index(ingested(tmp_path / "a", write_classes(tmp_path / "d", 60)))
    }
    after = {
        r["id"]: r["split"]
        for r in index(ingested(tmp_path / "b", write_classes(tmp_path / "d", 63)))
    }
    moved = [i for i, split in before.items() if "test" in (split, after[i]) and split != after[i]]
    assert len(moved) <= 2


def test_only_what_is_new_is_decoded(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what could not be used is tried again; and the result is that of a first ingest."""
    (photos / "ant" / "bad.png").write_bytes(b"bad")
    first = ingested(tmp_path / "first", photos)
    (photos / "ant" / "new.png").write_bytes(picture(0, 99))
    decoded: list[bytes] = []

    def check(raw: bytes) -> dict[str, Any]:
        decoded.append(raw)
        return MODALITIES["image"].raw.check(raw)

    source, data = find_source(str(photos), modality="image"), DataConfig(path=str(photos))
    with monkeypatch.context() as patch:
        usual = MODALITIES["image"].raw
        watched: Any = types.SimpleNamespace(**{**vars(usual), "check": check})
        row = dataclasses.replace(MODALITIES["image"], raw=watched)
        patch.setattr("components.examples.placing.MODALITIES", {**MODALITIES, "image": row})
        more = ingest(
            dataclasses.replace(job(tmp_path / "more"), earlier=lambda: iter([first])), source, data
        )
    assert sorted(decoded) == sorted([b"bad", picture(0, 99)])
    anew = ingest(job(tmp_path / "anew"), source, data)
    assert index(more) == index(anew)
    assert more.stats == anew.stats
    assert len(more.stats["quarantine"]) == 1


def test_duplicates_are_on_one_side_and_counted(tmp_path: Path, photos: Path) -> None:
    for number in range(20):
        shutil.copy(
            photos / "bee" / f"{number}.{'jpeg' if number % 2 else 'png'}",
            photos / "bee" / f"copy{number}",
        )
    shutil.copy(photos / "ant" / "0.png", photos / "bee" / "mislabelled.png")
    examples = ingested(tmp_path / "a", photos)
    splits: dict[str, set[str]] = {}
    for row in index(examples):
        splits.setdefault(row["id"], set()).add(row["split"])
    assert all(len(side) == 1 for side in splits.values())
    assert len(index(examples)) == 61
    checks = validate(job(tmp_path / "checks"), examples, None, False)
    assert checks.stats["duplicates"] == 21
    assert "1 examples have two different labels." in checks.warnings


def test_what_cannot_be_used_is_quarantined_with_a_reason(tmp_path: Path, photos: Path) -> None:
    (photos / "ant" / "words.jpg").write_text("hello")
    (photos / "bee" / "cut.jpeg").write_bytes(picture(1, 5, size=64, kind="JPEG")[:-900])
    (photos / "bee" / ".DS_Store").write_text("hidden files are not examples")
    examples = ingested(tmp_path / "a", photos)
    bad = {
        row["name"]: row["reason"] for row in read_jsonl(examples.directory / "quarantine.jsonl")
    }
    assert bad == {
        "ant/words.jpg": "is not an image",
        "bee/cut.jpeg": "is damaged: TensorFlow cannot decode it",
    }
    assert examples.stats["quarantined"] == 2
    assert sum(examples.counts.values()) == 40


@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner"])
def test_a_beam_runner_gives_the_same(tmp_path: Path, photos: Path, runner: str) -> None:
    """The same rows, and the same examples in the same order."""
    (photos / "ant" / "bad.png").write_bytes(b"bad")
    here = ingested(tmp_path / "a", photos)
    other = dataclasses.replace(job(tmp_path / "b"), beam=BeamConfig(runner=runner))
    config = DataConfig(path=str(photos))
    there = ingest(other, find_source(str(photos), modality="image"), config)
    assert index(there) == index(here)
    assert there.stats == here.stats
    for split in SPLITS:
        rows = [list(tfds_of(each, split).as_numpy_iterator()) for each in (here, there)]
        assert rows[0] == rows[1]


def test_a_source_notices_changed_bytes_and_nothing_else(tmp_path: Path, photos: Path) -> None:
    before = find_source(str(photos), modality="image").digest
    (photos / "ant" / "0.png").touch()
    assert find_source(str(photos), modality="image").digest == before
    (photos / "ant" / "0.png").write_bytes(picture(0, 500))
    assert find_source(str(photos), modality="image").digest != before


def test_checks_compare_labels_with_the_last_blessed_model(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "a", photos)
    other = (Target(task="one_label", space=Space(labels=("ant", "wasp"))),)
    with pytest.raises(Mistake, match=r"new labels bee and lost labels wasp: say"):
        validate(job(tmp_path / "c"), examples, other, False)
    assert validate(job(tmp_path / "d"), examples, other, True).warnings == ()


TARGETS = {
    "colours": {"task": "several_labels", "separator": "|"},
    "size": {"task": "number"},
    "weight": {"task": "number"},
    "kind": {"task": "one_label"},
}


@pytest.fixture
def table(tmp_path: Path, photos: Path) -> Path:
    """Three answers to each example, some of which are missing."""
    lines = ["path,colours,size,weight,kind"]
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        colours = "|".join(("red", "green", "blue")[: number % 4])
        size = "" if number % 5 == 0 else f"{number}.5"
        kind = "" if number % 7 == 0 else path.parent.name
        lines.append(f"{path.relative_to(tmp_path)},{colours},{size},{7 * number},{kind}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path / "t.csv"


def test_several_targets_by_a_beam_runner_and_from_tfds(tmp_path: Path, table: Path) -> None:
    """The same answers and splits by Beam, and from the dataset that ingest itself wrote."""
    here = ingested(tmp_path / "a", table, targets=TARGETS)
    assert [target.name for target in here.targets] == list(TARGETS)
    assert here.targets[0].space.labels == ("blue", "green", "red")
    config = Config.model_validate({"data": {"path": str(table)}, "targets": TARGETS})
    source = find_source(str(table), modality="image", columns=config.columns)
    other = dataclasses.replace(job(tmp_path / "b"), beam=BeamConfig(runner="FnApiRunner"))
    there = ingest(other, source, config.data)
    assert index(there) == index(here)
    assert there.targets == here.targets

    again = ingested(tmp_path / "c", f"tfds:{here.dataset}", targets=TARGETS)

    def known(examples: Examples) -> list[tuple[str, str, list[Any]]]:
        return sorted((row["id"], row["split"], row["answers"]) for row in index(examples))

    assert [t.space for t in again.targets] == [t.space for t in here.targets]
    assert {row[0]: row[2] for row in known(again)} == {row[0]: row[2] for row in known(here)}
    assert known(again) == known(here)


def test_another_column_of_a_dataset_is_another_source(tmp_path: Path, table: Path) -> None:
    """Two numbers of one dataset have the same space, and are not the same answers."""
    location = f"tfds:{ingested(tmp_path / 'a', table, targets=TARGETS).dataset}"
    digests = [
        find_source(
            location,
            modality="image",
            columns=(Column(name="x", task="number", columns=(column,)),),
        ).digest
        for column in ("size", "weight", "size")
    ]
    assert digests[0] == digests[2] != digests[1]
