"""What names, labels, paths and weights can have in them that nobody meant."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from components.examples.inputs import listed
from components.examples.reasons import code_of
from components.examples.walking import walk
from components.modalities.giants import Pretrained
from components.served.predict import Prediction
from components.validate import validate
from models.mistakes import Mistake, printable
from pipeline.store import Store
from tests.conftest import InProcess, write_classes
from tests.helpers import assembled, ingested, job


def test_what_cannot_be_seen_is_escaped() -> None:
    assert printable("a\nb\x1b[31m\udce9\u202e") == "a\\nb\\x1b[31m\\xe9\\u202e"
    assert printable("ünï 你好 👩\u200d🔬") == "ünï 你好 👩\u200d🔬"
    assert str(Mistake("got 'x\x1b[2Jy\nforged'")) == "got 'x\\x1b[2Jy forged'"
    line = Prediction("a\tvalid\nforged\x1b", (), False, [], {}).as_line()
    assert line == "a\\tvalid\\nforged\\x1b\tinvalid"


@pytest.mark.parametrize("name", ["st[o]re", "s*", "s?", "s\\t", "s\nt", "s\udce9"])
def test_paths_that_tensorflow_cannot_load_from(tmp_path: Path, name: str) -> None:
    with pytest.raises(Mistake, match="--store must be a path without"):
        Store(tmp_path / name)


def test_so_is_a_serving_directory(here: InProcess, tiny_recipe: Path) -> None:
    done = here.run(tiny_recipe, "--serving-dir", here.directory / "se[r]ving")
    assert done.returncode == 2
    assert "--serving-dir must be a path without '['" in done.stderr


def test_runs_of_a_name_in_brackets(here: InProcess, tmp_path: Path) -> None:
    record = (
        '{"run_id": "1-[/red]", "recipe": "[/red]", "request": "", "serving": "", "baseline": null,'
        ' "started": "2026-01-01T00:00:00Z", "outcome": "failed: [/oops] \\u001b[31m"}'
    )
    runs = here.store / "runs"
    runs.mkdir(parents=True)
    (runs / "1.json").write_text(record)
    done = here("runs", "--store", here.store)
    assert done.returncode == 0
    assert "1-[/red]" in done.stdout
    assert "[/oops] \\x1b[31m" in done.stdout


def test_labels_that_look_alike_are_said(tmp_path: Path) -> None:
    labels = ("Red", "red", "caf\u00e9", "cafe\u0301", "blue")
    examples = ingested(tmp_path / "out", write_classes(tmp_path / "data", 6, labels))
    warnings = validate(job(tmp_path / "checks"), examples, None, False).warnings
    assert sum("are they one?" in warning for warning in warnings) == 2
    assert any("'Red', 'red' differ in capitals" in warning for warning in warnings)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    examples = ingested(tmp_path / "out", write_classes(tmp_path / "data", 6))
    model = assembled(tmp_path / "a", examples, backbone="ConvNet", input_size=16)
    from components.frozen.networks import open_backbone

    network = open_backbone(model, model.weights)
    network.weights[0].assign(np.full(network.weights[0].shape, np.nan))
    broken = tmp_path / "broken.weights.h5"
    network.save_weights(broken)
    with pytest.raises(Mistake, match=r"model\.weights must be finite numbers, got .* with NaN"):
        assembled(
            tmp_path / "b",
            examples,
            Pretrained("digest", "weights from broken.weights.h5", broken),
            backbone="ConvNet",
            input_size=16,
        )


def test_links_to_folders_with_links_to_folders(tmp_path: Path) -> None:
    """Thirty folders with two links each are a thousand million paths to one file."""
    for level in range(31):
        (tmp_path / f"{level}").mkdir()
        for name in ("a", "b") if level < 30 else ():
            (tmp_path / f"{level}" / name).symlink_to(f"../{level + 1}")
    (tmp_path / "30" / "x.png").write_bytes(b"x")
    found = [*walk(tmp_path / "0", tmp_path.resolve())]
    assert [Path(each.path).name for each in found if not each.problem] == ["x.png"]
    assert {code_of(each.problem) for each in found if each.problem} == {"link_loop"}
    assert len(found) == 31


def test_folders_in_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a file system has room for: what is too deep is said."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2500):
        os.mkdir("d")
        os.chdir("d")
    monkeypatch.chdir(tmp_path)
    try:
        [found] = walk(tmp_path, None)
    finally:  # Python's own cannot, and pytest's neither.
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
    assert found.problem == "cannot be read: File name too long"


def test_bulk_predictions_stay_in_the_folder(tmp_path: Path) -> None:
    """A link, or a row, that leads elsewhere is set aside, unless --root says otherwise."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "a.png").write_bytes(b"a")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.png").symlink_to("../private/a.png")
    (folder / "own.png").write_bytes(b"b")
    (tmp_path / "folder.csv").write_text("path\nfolder/own.png\nfolder/link.png\n")
    (folder / "rows.csv").write_text("path\nown.png\n../private/a.png\n")

    def problems(location: Path, root: str = "") -> list[str]:
        found = [each for each in listed(str(location), "image", root) if "csv" not in each.path]
        return [each.problem for each in found]

    [linked, own] = problems(folder)
    assert own == ""
    assert linked == f"is a link out of {folder}: --root"
    assert problems(folder / "rows.csv") == ["", f"is outside {folder}: --root"]
    assert problems(tmp_path / "folder.csv") == ["", ""]
    assert problems(folder, str(tmp_path)) == ["", ""]
    assert problems(folder / "rows.csv", "/") == ["", ""]
