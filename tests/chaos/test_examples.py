"""Rows of tables that name what is no file of examples: set aside, at once, with the reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.files import read_regular
from tests.conftest import write_classes
from tests.helpers import ingested


@pytest.mark.timeout(60)
def test_what_is_no_regular_file_is_set_aside(tmp_path: Path) -> None:
    """A FIFO that nobody writes to, devices without an end, a folder, a loop of links."""
    write_classes(tmp_path / "photos", 12)
    rows = [
        f"{path.relative_to(tmp_path)},{path.parent.name}"
        for path in sorted((tmp_path / "photos").rglob("*.*"))
    ]
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    strange = ["fifo.jpg", "/dev/zero", "/dev/random", "folder.jpg", "loop.jpg", "gone.jpg"]
    label = rows[0].rpartition(",")[2]
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(["path,label", *rows, *(f"{name},{label}" for name in strange)]))
    examples = ingested(tmp_path / "made", table)
    quarantine = (examples.directory / "quarantine.jsonl").read_text().splitlines()
    told = {row["name"]: row["reason"] for row in map(json.loads, quarantine)}
    assert told.keys() == set(strange)
    for name in strange[:3]:
        assert told[name] == "cannot be read: it is no regular file"
    with pytest.raises(OSError, match="it is no regular file"):
        read_regular(Path("/dev/zero"))
