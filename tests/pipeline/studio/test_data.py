"""The examples of a run in the studio: found, shown, and corrected."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Examples
from components.examples import dataset, patching
from components.examples.browsing import Finder
from components.files import read_json, write_jsonl
from components.tasks.protocol import Column, Space, Target
from pipeline.store import Store
from tests.pipeline.studio.stores import client, copied

LABELS = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def run(pushed: Path) -> dict[str, Any]:
    """The record of the only run."""
    (path,) = (pushed.parents[2] / "runs").glob("*.json")
    found: dict[str, Any] = read_json(path)
    return found


def examples_of(store: Path, run: dict[str, Any]) -> Examples:
    refs = {stage["name"]: stage["artifact"] for stage in run["stages"]}
    found = Store(store).load(Examples, refs["ingest"])
    assert found
    return found


def test_each_example_is_found_by_its_id(pushed: Path, run: dict[str, Any]) -> None:
    """The same bytes that TensorFlow reads."""
    examples = examples_of(pushed.parents[2], run)
    finder = Finder.of(examples.dataset, examples.modality)
    read = [row for split in examples.counts for row in dataset.rows(examples, split)]
    assert len(read) == sum(examples.counts.values()) > 50
    assert {row.id: row.raw for row in read} == {i: finder.raw(i) for i in finder.places}
    assert finder.raw("nothing") is None


def test_a_file_that_is_cut_has_what_is_whole(
    pushed: Path, run: dict[str, Any], tmp_path: Path
) -> None:
    examples = examples_of(pushed.parents[2], run)
    place = Path(shutil.copytree(examples.dataset, tmp_path / "cut"))
    whole = len(Finder.of(place, examples.modality).places)
    for path in place.glob("*.tfrecord*"):
        path.write_bytes(path.read_bytes()[:-10])
    assert len(Finder.of(place, examples.modality).places) < whole
    for path in place.glob("*.tfrecord*"):
        path.write_bytes(b"")
    assert not Finder.of(place, examples.modality).places


def test_examples_by_split_label_and_name(pushed: Path, run: dict[str, Any]) -> None:
    page = f"/api/runs/{run['run_id']}/data"
    asked = client(pushed.parents[2])
    everything = asked.get(page).json()
    assert everything["total"] == 60
    assert sum(everything["splits"].values()) == 60
    assert set(everything["labels"]) == set(LABELS)
    bees = asked.get(page, params={"label": "bee", "split": "train", "count": 500}).json()
    assert 0 < bees["total"] == len(bees["rows"]) < 20
    assert all(row["answers"] == ["bee"] and row["split"] == "train" for row in bees["rows"])
    name = bees["rows"][0]["name"]
    assert asked.get(page, params={"words": name.upper()}).json()["total"] == 1
    parts = [asked.get(page, params={"from": at, "count": 25}).json()["rows"] for at in (0, 25, 50)]
    assert len({row["id"] for part in parts for row in part}) == 60
    assert asked.get(page, params={"from": "x"}).status_code == 400
    assert asked.get("/api/runs/nothing/data").status_code == 404


def test_an_example_is_never_a_page(pushed: Path, run: dict[str, Any], tmp_path: Path) -> None:
    """Whatever is in it."""
    store = copied(pushed, tmp_path)
    page = f"/api/runs/{run['run_id']}/data"
    asked = client(store)
    identity = asked.get(page).json()["rows"][0]["id"]
    raw = asked.get(f"{page}/{identity}/raw")
    assert raw.headers["content-type"].startswith("image/")
    assert "sandbox" in raw.headers["content-security-policy"]
    assert raw.headers["x-content-type-options"] == "nosniff"
    for other in ("nothing", "..%2f..%2fRUN", identity[:-1]):
        assert asked.get(f"{page}/{other}/raw").status_code == 404


def test_what_was_set_aside(
    pushed: Path, run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"/api/runs/{run['run_id']}/quarantined"
    assert client(pushed.parents[2]).get(page).json() == []
    examples = examples_of(pushed.parents[2], run)
    row = {"name": "a.jpg", "answers": ["ant"], "reason": "is damaged", "code": "x"}
    write_jsonl(tmp_path / "quarantine.jsonl", [row | {"more": 1}])
    write_jsonl(tmp_path / "index.jsonl", [])
    moved = examples.model_copy(update={"directory": tmp_path})
    monkeypatch.setattr(Store, "load", lambda *_: moved)
    assert client(pushed.parents[2]).get(page).json() == [row]


def test_corrections_are_a_patch_that_a_run_takes(
    pushed: Path, run: dict[str, Any], tmp_path: Path
) -> None:
    store = copied(pushed, tmp_path)
    asked = client(store)
    rows = asked.get(f"/api/runs/{run['run_id']}/data").json()["rows"]
    page = f"/api/runs/{run['run_id']}/patch"
    actions = [
        {"id": rows[0]["id"], "action": "drop"},
        {"id": rows[1]["id"], "action": "relabel", "suggested": "bee"},
    ]
    path = Path(asked.post(page, json=actions).json()["path"])
    target = Target(task="one_label", space=Space(labels=LABELS))
    column = Column(name="label")
    patch = patching.read([path], [target], [column], allow_new_labels=False)
    assert patch.dropped == {rows[0]["id"]}
    assert patch.answers == {rows[1]["id"]: {0: "bee"}}
    for wrong in (
        [{"id": "nothing", "action": "drop"}],
        [{"id": rows[0]["id"], "action": "burn"}],
        [{"id": rows[0]["id"], "action": "relabel"}],
        {"id": 1},
        "x",
    ):
        assert asked.post(page, json=wrong).status_code == 400
    assert client(store, read_only=True).post(page, json=actions).status_code == 403


def test_labels_in_doubt(pushed: Path, run: dict[str, Any]) -> None:
    told = client(pushed.parents[2]).get(f"/api/runs/{run['run_id']}/suspects")
    assert told.status_code == 200
    assert all({"id", "given", "suggested", "doubt"} <= row.keys() for row in told.json())
