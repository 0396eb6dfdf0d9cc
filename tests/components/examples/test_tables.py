"""Tables as people have them, and what was converted."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.artifacts import Examples
from components.examples.sources import find_source
from components.examples.tables import Headings, read
from components.ingest import DataConfig, ingest
from components.tasks.protocol import Column
from models.mistakes import Mistake
from tests.conftest import picture, write_classes
from tests.helpers import job


def rows(
    path: Path, columns: tuple[Column, ...] = (Column(),), **headings: Any
) -> list[tuple[str, Any, str]]:
    found = read(path, "text", columns, Headings(**headings))
    return [((record.raw or b"").decode(), record.answers[0], record.split) for record in found]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_stands_between_cells_is_told_by_the_first_line(
    tmp_path: Path, delimiter: str
) -> None:
    lines = [f"text{delimiter}label", f'"good | fine; yes, so"{delimiter}1']
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert rows(tmp_path / "a.csv") == [("good | fine; yes, so", "1", "")]


def test_a_spreadsheet_may_name_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\ntext;label\ngood;1\n")
    assert rows(tmp_path / "a.csv") == [("good", "1", "")]


def test_columns_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("review\tstars\tfold\ngood\t5\ttest\n")
    columns = (Column(columns=("stars",)),)
    named = rows(tmp_path / "a.tsv", columns, input="review", split="fold")
    assert named == [("good", "5", "test")]
    with pytest.raises(Mistake, match=r"must have the column 'flod'.*did you mean fold"):
        rows(tmp_path / "a.tsv", columns, input="review", split="flod")


def test_what_was_converted_is_not_taken_for_usable(tmp_path: Path) -> None:
    """An earlier ingest that converted knows nothing of one that does not."""
    photos = write_classes(tmp_path / "photos", 8)
    with Image.open(io.BytesIO(picture(0, 99))) as shown:
        shown.save(photos / "ant" / "other.webp", lossless=True)
    source = find_source(str(photos), modality="image")

    def ingested(name: str, *earlier: Examples, convert: bool) -> Examples:
        at_work = replace(job(tmp_path / name), earlier=lambda: iter(earlier))
        return ingest(at_work, source, DataConfig(path=str(photos), convert=convert))

    converting = ingested("converting", convert=True)
    assert converting.stats["quarantined"] == 0
    plain = ingested("plain", converting, convert=False)
    assert plain.stats["quarantined"] == 1
    assert plain.remarks[0].startswith("1 not used: ant/other.webp is a WEBP image")
