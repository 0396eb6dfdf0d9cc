"""Parts of the test examples by columns of their table, from the table to the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Rivals
from components.bless import BlessConfig, bless
from components.evaluate import EvaluateConfig, evaluate
from components.examples.sources import find_source
from components.examples.tables import Headings
from components.export import ExportConfig, export
from components.ingest import DataConfig, ingest
from components.train_head import train_head
from components.training.head_config import HeadConfig
from models.mistakes import Mistake
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import write_classes
from tests.helpers import PLAIN, job


def table(directory: Path, count: int = 30) -> Path:
    """Photographs of two cameras, and how many lux there were."""
    photos = write_classes(directory / "photos", count)
    paths = [path for label in ("ant", "bee") for path in sorted((photos / label).iterdir())]
    lines = [
        f"{path.relative_to(directory)},{path.parent.name},{('old', 'new')[n % 2]},{n},test"
        if n % 3 == 0
        else f"{path.relative_to(directory)},{path.parent.name},old,{n},"
        for n, path in enumerate(paths)
    ]
    found = directory / "table.csv"
    found.write_text("\n".join(["path,label,camera,lux,split", *lines]))
    return found


def ingested(directory: Path, *slices: str) -> Any:
    source = find_source(
        str(table(directory)), modality="image", headings=Headings(slices=tuple(slices))
    )
    return ingest(job(directory / "examples"), source, DataConfig(path=source.location))


def test_each_part_is_judged_and_can_be_asked_of(tmp_path: Path) -> None:
    examples = ingested(tmp_path, "camera", "lux")
    assert examples.slices == ("camera", "lux")
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    exported = export(job(tmp_path / "export"), head, examples, ExportConfig())
    evaluation = evaluate(job(tmp_path / "evaluate"), exported, examples, EvaluateConfig())
    metrics = json.loads((evaluation.directory / "metrics.json").read_text())
    parts = [(row["slice"], row["part"]) for row in metrics["targets"][""]["slices"]]
    assert ("camera", "new") in parts
    assert ("camera", "old") in parts
    asked = BlessConfig(slices=("camera: accuracy>=1.01",))
    verdict = bless(job(tmp_path / "bless"), evaluation, Rivals(), asked)
    assert not verdict.blessed
    assert any("Where camera is new" in reason for reason in verdict.reasons)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"data\.slices must have the column 'camra'.*camera"):
        ingested(tmp_path, "camra")


def test_what_has_no_columns(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 6)
    for place in (str(photos), "digits"):
        with pytest.raises(Mistake, match=r"data\.slices must name columns of a table.*'camera'"):
            find_source(place, modality="image", headings=Headings(slices=("camera",)))
