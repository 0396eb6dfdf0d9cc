"""A patch: what a person says of examples, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.examples import patching
from components.tasks.protocol import Column, Space, Target
from models.mistakes import Mistake

TARGETS = (
    Target(name="kind", task="one_label", space=Space(labels=("ant", "bee"))),
    Target(name="tags", task="several_labels", space=Space(labels=("red", "wet"))),
    Target(name="age", task="number"),
)
COLUMNS = tuple(Column(name=t.name, task=t.task, columns=(t.name,)) for t in TARGETS)


def patch(directory: Path, *texts: str, allow: bool = False) -> patching.Patch:
    paths = []
    for number, text in enumerate(texts):
        paths.append(directory / f"{number}.csv")
        paths[-1].write_text(text)
    return patching.read(paths, TARGETS, COLUMNS, allow_new_labels=allow)


def test_what_is_said_is_done(tmp_path: Path) -> None:
    """The last file counts; of several labels and numbers, too."""
    found = patch(
        tmp_path,
        "id,action,suggested,target\na,drop,,\nb,relabel,bee,kind\nc,keep,ant,kind\n",
        "id,action,suggested,target\na,keep,,\nb,relabel,red|wet,tags\nb,relabel,7.5,age\nd,drop,,\n",
    )
    row = {"name": "x", "answers": ["ant", [], 1.0]}
    assert patching.patched(row | {"id": "b"}, found)["answers"] == ["bee", ["red", "wet"], 7.5]
    assert patching.patched(row | {"id": "a"}, found) == row | {"id": "a"}
    assert patching.patched(row | {"id": "d"}, found)["reason"] == "was left out by data.patch"
    assert patching.patched(row | {"id": "a"}, None) == row | {"id": "a"}
    assert found.missing({"b"}) == ["d"]
    assert found.digest != patch(tmp_path, "id,action\nz,drop\n").digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,why\na,b\n", "must have the columns id and action, got 0.csv without action"),
        ("id,action\na,remove\n", "must have keep, drop or relabel for an action, got 'remove' in"),
        ("id,action,suggested,target\na,relabel,wasp,kind\n", "labels that there are, got 'wasp'"),
        ("id,action,suggested,target\na,relabel,old,age\n", "0.csv:2 has 'old'"),
        ("id,action,suggested,target\na,relabel,,kind\n", "got none in 0.csv:2"),
        ("id,action,suggested,target\na,relabel,ant,kinds\n", "did you mean kind?"),
    ],
)
def test_a_mistake_names_the_row(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Mistake) as told:
        patch(tmp_path, text)
    assert said in str(told.value)


def test_a_new_label_can_be_meant(tmp_path: Path) -> None:
    text = "id,action,suggested,target\na,relabel,wasp,kind\n"
    assert patch(tmp_path, text, allow=True).answers == {"a": {0: "wasp"}}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"data\.patch must be CSV files, got"):
        patching.read([tmp_path / "no.csv"], TARGETS, COLUMNS, allow_new_labels=False)
