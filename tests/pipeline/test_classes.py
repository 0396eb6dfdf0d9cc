"""`add-class` and `remove-class`: a new version without training, which must not lose the old."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import InProcess, write_classes


@pytest.fixture
def means(here: InProcess, tiny_recipe: Path) -> dict[str, Any]:
    """A model of class means that is served."""
    found: dict[str, Any] = here.result(
        *(tiny_recipe, "--head.kind", "prototype", "--fine-tune.unfreeze", 0)
    )
    return found


@pytest.fixture
def cats(tmp_path: Path) -> list[Path]:
    folder = write_classes(tmp_path / "more", 12, ("ant", "bee", "cat"))
    return sorted((folder / "cat").iterdir())


def test_a_class_more_and_one_less(
    here: InProcess, means: dict[str, Any], cats: list[Path]
) -> None:
    done = here("add-class", "tiny", "cat", *cats, "--store", here.store, "--json")
    assert done.returncode in (0, 3), done.stderr
    told = json.loads(done.stdout)
    assert told["labels"] == ["ant", "bee", "cat"]
    [head] = [p for p in (here.store / "train_head").glob("*/artifact.json") if _classes(p) == 3]
    assert not (head.parent / "history.json").exists()  # Nothing was trained.
    # The old examples were not computed anew.
    made = [json.loads(p.read_text()) for p in (here.store / "extract").glob("*/artifact.json")]
    assert sorted(each["stats"]["computed"] for each in made) == [9, 34]
    assert told["reasons"][0].startswith("Of 3 new examples of cat it knows ")
    kept = told["old_classes"]
    assert kept["count"] == 6
    if done.returncode:
        assert told["pushed"] is None
        return
    assert told["version"] == 2
    said = here("predict", "tiny", cats[0], "--store", here.store)
    assert "cat" in said.stdout
    again = here("remove-class", "tiny", "bee", "--store", here.store, "--json")
    assert json.loads(again.stdout)["labels"] == ["ant", "cat"]


def test_it_is_judged_and_served_as_the_model_was(
    here: InProcess, tiny_recipe: Path, cats: list[Path]
) -> None:
    means = ("--head.kind", "prototype", "--fine-tune.unfreeze", 0)
    rules = ("--serve.false-accepts", 0.2, "--bless.at-least", "accuracy=0.01")
    here.result(tiny_recipe, *means, *rules, "--bless.max-drop", 0.9)
    done = here("add-class", "tiny", "cat", *cats, "--store", here.store, "--json")
    told = json.loads(done.stdout)
    assert any("at least 0.01" in reason for reason in told["reasons"]), told["reasons"]
    assert any("worse by 0.900 is allowed" in reason for reason in told["reasons"])
    served = [
        json.loads(path.read_text())["match"]["rate"]
        for path in here.store.glob("export/*/model/MANIFEST.json")
    ]
    assert served == [0.2, 0.2]


def test_a_signed_model_stays_signed(
    here: InProcess, tiny_recipe: Path, cats: list[Path], tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    means = ("--head.kind", "prototype", "--fine-tune.unfreeze", 0, "--bless.max-drop", 0.9)
    here.result(tiny_recipe, *means, "--push.sign", path)
    done = here("add-class", "tiny", "cat", *cats, "--store", here.store)
    assert done.returncode == 2
    assert "--sign must be a key where the model is signed" in done.stderr
    signed = here("add-class", "tiny", "cat", *cats, "--store", here.store, "--sign", path)
    assert signed.returncode == 0, signed.stdout + signed.stderr
    assert (here.store / "serving" / "tiny" / "2" / "MANIFEST.json.sig").exists()


def _classes(path: Path) -> int:
    kept = json.loads(path.read_text())["facts"]["kept"]
    return int(kept.split()[3]) if kept.startswith("the means of") else 0


def test_what_is_refused(
    here: InProcess, means: dict[str, Any], cats: list[Path], photos: Path, tmp_path: Path
) -> None:
    def refused(*arguments: object) -> str:
        done = here(*arguments, "--store", here.store)
        assert done.returncode == 2, done.stderr
        return str(done.stderr.strip().splitlines()[-1])

    assert "NAME must be a new class, got 'ant'" in refused("add-class", "tiny", "ant", *cats)
    assert "NAME must be a class of the model, got 'cat'" in refused("remove-class", "tiny", "cat")
    assert "NAME must leave two classes or more" in refused("remove-class", "tiny", "bee")
    assert "FILES must be examples of 'cat', got none" in refused("add-class", "tiny", "cat")
    assert "FILES must be two examples of 'cat' or more" in refused(
        "add-class", "tiny", "cat", cats[0]
    )
    assert "FILE must be a file, got" in refused("add-class", "tiny", "cat", tmp_path / "nothing")
    text = tmp_path / "text.jpeg"
    text.write_text("no picture")
    assert "FILE must be an example, got" in refused("add-class", "tiny", "cat", *cats[:3], text)
    known = photos / "ant" / "1.jpeg"
    assert "which is one of 'ant'" in refused("add-class", "tiny", "cat", *cats[:3], known)
    assert [p.name for p in (here.store / "serving" / "tiny").glob("[0-9]*")] == ["1"]


def test_a_model_that_no_class_can_be_added_to(
    here: InProcess, tiny_recipe: Path, cats: list[Path], pushed: Path
) -> None:
    here.result(tiny_recipe, "--fine-tune.unfreeze", 0)
    done = here("add-class", "tiny", "cat", *cats, "--store", here.store)
    assert done.returncode == 2
    assert "MODEL must have class means for a head" in done.stderr
    other = here("add-class", pushed, "dog", *cats, "--store", here.store)
    assert other.returncode == 2
    assert "MODEL must be of a run in" in other.stderr
