"""What a bad disk does to a store: it is found before it is used, said, and made again."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from components import files
from components.artifacts import ExportedModel
from pipeline.store import Store
from tests.conftest import InProcess, write_classes

pytestmark = [pytest.mark.slow]


def flipped(path: Path) -> None:
    """One bit in the middle."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def zeroed(path: Path) -> None:
    """A block of 4 KB, or what there is, as a sector that was never written."""
    raw = bytearray(path.read_bytes())
    start = len(raw) // 2 // 4096 * 4096
    raw[start : start + 4096] = bytes(len(raw[start : start + 4096]))
    path.write_bytes(raw)


def emptied(path: Path) -> None:
    path.write_text("{}")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def gone(path: Path) -> None:
    path.unlink()


# What is damaged, as a pattern in the store, and how.
FAULTS: list[tuple[str, Any]] = [
    ("assemble/*/backbone.weights.h5", zeroed),
    ("assemble/*/backbone.weights.h5", flipped),
    ("train_head/*/head.weights.h5", flipped),
    ("ingest/*/**/*.tfrecord*", flipped),
    ("ingest/*/index.jsonl", flipped),
    ("validate/*/artifact.json", emptied),
    ("train_head/*/artifact.json", emptied),
    ("extract/*/rows.jsonl", flipped),
    ("extract/*/shards.json", cut),
    ("extract/*/shards.json", emptied),
    ("activations/*/meta.json", emptied),
    ("activations/*/*.0.bin", flipped),
    ("activations/*/[0-9a-f]*.json", emptied),
    ("activations/*/[0-9a-f]*.json", cut),
    ("fine_tune/*/backbone.weights.h5", gone),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    directory = tmp_path_factory.mktemp("damage")
    write_classes(directory / "photos", 16)
    return InProcess(directory)


def run(here: InProcess, warmups: int, *flags: object) -> Any:
    """A run whose export is another one each time, so that a stage reads what is damaged."""
    return here(
        *("run", "photos", "photos", "--model.backbone", "ConvNet", "--model.weights", "none"),
        *("--photos.input-size", 16, "--head.epochs", 3, "--head.features", "last"),
        *("--fine-tune.unfreeze", 1, "--fine-tune.epochs", 1, "--bless.no-beat-trivial"),
        *("--augment.views", 1, "--control.enabled", "false", "--bless.max-drop", 1, "--json"),
        *("--export.warmup-requests", warmups, *flags),
    )


@pytest.mark.timeout(1800)
def test_what_is_damaged_is_made_again(here: InProcess) -> None:
    """By the next run, with no clean-up by hand, to the end that an undamaged one comes to."""
    done = run(here, 1)
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout)["metrics"]["test"]
    store = here.directory / ".store"
    for number, (pattern, damage) in enumerate(FAULTS, start=2):
        files = sorted(
            p for p in store.glob(pattern) if p.name != "artifact.json" or damage is emptied
        )
        assert files, pattern
        for file in files:
            damage(file)
        done = run(here, number)
        named = f"{pattern}, {damage.__name__}"
        assert done.returncode == 0, (named, done.stderr)
        assert json.loads(done.stdout)["metrics"]["test"] == expected, named
        again = run(here, number)
        stages = json.loads(again.stdout)["stages"]
        assert {stage["status"] for stage in stages} <= {"reused", "skipped"}, named


def test_what_cannot_be_read_is_no_damage(here: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails for a moment costs no artifact."""
    assert run(here, 90).returncode == 0
    store = Store(here.directory / ".store")
    path = next(store.root.glob("export/*"))
    exported = store.load(ExportedModel, f"export/{path.name}")
    assert exported is not None
    real = files.opened

    def failing(path: Path, most: int | None = None) -> Any:
        if path.name == "saved_model.pb":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, most)

    with monkeypatch.context() as patch:
        patch.setattr(files, "opened", failing)
        with pytest.raises(OSError, match="Input/output error"):
            store.verify(exported)
    store.verify(exported)


def damage_of_a_version(version: Path, how: str) -> None:
    if how == "a byte flipped":
        flipped(version / "saved_model.pb")
    else:
        (version / how).unlink()


@pytest.mark.timeout(900)
def test_a_version_that_is_damaged_is_superseded(here: InProcess) -> None:
    """It is said, is no baseline, and neither what is pushed again nor the next one minds it."""
    serving = here.directory / "served"
    flags: tuple[object, ...] = ("--serving-dir", serving)
    done = run(here, 1, *flags)
    assert json.loads(done.stdout)["version"] == 1, done.stderr
    faults = ("saved_model.pb", "MANIFEST.json", "a byte flipped", "assets/labels.txt")
    for number, how in enumerate(faults, start=1):
        damage_of_a_version(serving / str(number), how)
        done = run(here, 1, *flags)
        assert done.returncode == 0, (how, done.stderr)
        assert "is not a whole model of ours" in done.stderr, how
        assert json.loads(done.stdout)["version"] == number + 1, how
        again = json.loads(run(here, 1, *flags).stdout)
        assert (again["outcome"], again["version"]) == ("unchanged", number + 1), how
    damage_of_a_version(serving / "5", "a byte flipped")
    done = run(here, 3, *flags)
    assert json.loads(done.stdout)["version"] == 6, done.stderr
