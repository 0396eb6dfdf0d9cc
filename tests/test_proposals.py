"""Each rule that proposes something is tried on data that makes it: what it says has to help."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from tests.conftest import InProcess

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(900)]
Run = Callable[..., dict[str, Any]]
# The head alone, and nothing that takes long or stops a run.
QUICK = ("--control.enabled", "false", "--bless.max-drop", 1, "--bless.no-beat-trivial")
ALONE = ("--fine-tune.epochs", 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The digits recipe in a store of its own, which keeps what was pretrained."""
    here = InProcess(tmp_path_factory.mktemp("proposals"))

    def go(*flags: Any) -> dict[str, Any]:
        result: dict[str, Any] = here.result("digits", *QUICK, *flags)
        return result

    return go


def proposed(result: dict[str, Any], beginning: str) -> dict[str, Any]:
    made: list[dict[str, Any]] = result["proposals"]
    found = [each for each in made if each["what"].startswith(beginning)]
    assert found, [each["what"] for each in made]
    return found[0]


def accuracy(result: dict[str, Any]) -> float:
    return float(result["metrics"]["test"]["accuracy"])


def also(asked: tuple[Any, ...], proposal: dict[str, Any]) -> tuple[Any, ...]:
    """What is asked, with the flags of the proposal in place of its own."""
    flags = dict(zip(asked[::2], asked[1::2], strict=True))
    words = proposal["flags"].split()
    flags |= dict(zip(words[::2], words[1::2], strict=True))
    return tuple(word for pair in flags.items() for word in pair)


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("Train the head for longer", (*ALONE, "--head.epochs", 8, "--head.learning-rate", 1e-3)),
        ("Fine-tune more gently", ("--fine-tune.learning-rate", 0.03)),
        (
            "Show it more views",
            ("--augment.views", 1, "--data.labels-per-class", 16, "--fine-tune.epochs", 60),
        ),
        ("Fine-tune the last blocks", (*ALONE, "--data.labels-per-class", 60)),
    ],
)
def test_flags_help(run: Run, what: str, asked: tuple[Any, ...]) -> None:
    before = run(*asked)
    after = run(*also(asked, proposed(before, what)))
    assert accuracy(after) > accuracy(before)


def test_more_labels_help_about_as_much_as_was_said(run: Run) -> None:
    before = run(*ALONE, "--data.labels-per-class", 27)
    gain = proposed(before, "Label more examples")["gain"]
    after = run(*ALONE, "--data.labels-per-class", 54)
    assert 0.3 * gain < accuracy(after) - accuracy(before) < 3 * gain


def pictures(folder: Path, per_class: int, start: int = 0, digits: str = "56789") -> Path:
    """Digits as PNG files, so many of each from a place on."""
    found = datasets.load_digits()
    for digit in digits:
        (folder / digit).mkdir(parents=True, exist_ok=True)
        own = found.images[found.target == int(digit)][start : start + per_class]
        for number, image in enumerate(own):
            shown = Image.fromarray((image * 15.9).astype(np.uint8)).convert("RGB")
            shown.resize((32, 32), Image.Resampling.BICUBIC).save(
                folder / digit / f"{start + number}.png"
            )
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same of a folder, in a store of its own each."""
    directory = tmp_path_factory.mktemp("folders")
    here = InProcess(directory)

    def go(*flags: Any) -> dict[str, Any]:
        kept = ("--data.labels-per-class", 1000)
        result: dict[str, Any] = here.result("digits", *QUICK, *kept, *flags)
        return result

    return go


def test_doubtful_labels(folders: Run, tmp_path: Path) -> None:
    """A third are called as the next digit is: who looks at those in doubt mends some of them."""
    train, test = pictures(tmp_path / "all" / "train", 40), tmp_path / "all" / "test"
    pictures(test, 60, 100)
    rng = np.random.default_rng(0)
    for path in sorted(train.rglob("*.png")):
        if rng.random() < 0.35:
            other = "56789"[("56789".index(path.parent.name) + 1) % 5]
            shutil.move(path, train / other / f"was-{path.parent.name}-{path.name}")
    asked = (*ALONE, "--data.path", tmp_path / "all")
    before = folders(*asked)
    proposal = proposed(before, "Look at the labels")
    path = Path(proposal["flags"].split()[1])
    patch = tmp_path / "patch.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with patch.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            truth = Path(row["name"]).name.removeprefix("was-").partition("-")[0]
            was = truth if "was-" in row["name"] else row["given"]
            writer.writerow(row | {"suggested": was, "action": "relabel"})
    after = folders(*asked, "--data.patch", patch)
    assert accuracy(after) > accuracy(before)


def test_a_rare_class_counts_as_much(folders: Run, tmp_path: Path) -> None:
    train, test = tmp_path / "all" / "train", tmp_path / "all" / "test"
    pictures(train, 60, digits="5679")
    pictures(train, 8, digits="8")
    pictures(test, 60, 100)
    asked = (*ALONE, "--data.path", tmp_path / "all", "--head.epochs", 30)
    before = folders(*asked)
    proposal = proposed(before, "Let 8 count")
    after = folders(*asked, *proposal["flags"].split())
    least = [result["metrics"]["test"]["least_recall"] for result in (before, after)]
    assert least[1] > least[0]


def test_copies_on_both_sides(folders: Run, tmp_path: Path) -> None:
    train, test = tmp_path / "all" / "train", tmp_path / "all" / "test"
    pictures(train, 60)
    pictures(test, 40, 100)
    for number, path in enumerate(sorted(train.rglob("*.png"))[::20]):
        copy = test / path.parent.name / f"copy{number}.jpg"
        Image.open(path).save(copy, quality=95)
    asked = (*ALONE, "--data.path", tmp_path / "all")
    before = folders(*asked)
    path = Path(proposed(before, "Leave out test examples")["flags"].split()[1])
    lines = path.read_text().splitlines()
    patch = tmp_path / "patch.csv"
    patch.write_text("\n".join([lines[0], *(f"{line}drop" for line in lines[1:])]))
    after = folders(*asked, "--data.patch", patch)
    assert not any(each["what"].startswith("Leave out") for each in after["proposals"])
    assert accuracy(after) <= accuracy(before)


def test_a_test_from_elsewhere_and_a_part_that_is_worse(folders: Run, tmp_path: Path) -> None:
    """Half of the test is dark on light; with such examples to train on, it is better."""
    train, test = tmp_path / "all" / "train", tmp_path / "all" / "test"
    pictures(train, 60)
    pictures(test, 40, 100)
    invert(test, every=2)
    before = folders(*ALONE, "--data.path", tmp_path / "all")
    proposed(before, "Label examples like those of the test")
    assert "brightness" in proposed(before, "Label more examples whose")["what"]
    invert(train, every=2)
    after = folders(*ALONE, "--data.path", tmp_path / "all")
    assert accuracy(after) > accuracy(before)


def invert(folder: Path, every: int) -> None:
    for path in sorted(folder.rglob("*.png"))[::every]:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
