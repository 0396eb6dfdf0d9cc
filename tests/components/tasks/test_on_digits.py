"""What the tasks reach on handwritten digits; minutes, so by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.conftest import InProcess

pytestmark = pytest.mark.exhaustive
RECIPE = """
[model]
backbone = "ConvNet"
weights = "none"
[photos]
input_size = {size}
[head]
epochs = 5
learning_rate = 0.01
[fine_tune]
unfreeze = "all"
epochs = 25
learning_rate = 3e-3
patience = 10
"""


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    listed = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
    return path


def figures(here: InProcess, name: str, size: int, *arguments: object) -> dict[str, float]:
    recipe = here.directory / "digits.toml"
    recipe.write_text(RECIPE.format(size=size))
    serving = ("--serving-dir", here.directory / name)
    result = here.result(recipe, *arguments, *serving, "--bless.force", "a test")
    assert result["pushed"]
    found: dict[str, float] = result["metrics"]["test"]
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_how_far_a_digit_is_turned(here: InProcess, seed: int) -> None:
    """Sevens turned by up to 80 degrees; the answer and its errors are in degrees."""
    rng, digits, rows = np.random.default_rng(seed), load_digits(), []
    sevens = digits.images[digits.target == 7]
    for number in range(1200):
        pixels = (sevens[number % len(sevens)] * 255 / 16).astype(np.uint8)
        large = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
        angle = float(rng.uniform(-80, 80))
        turned = large.rotate(angle, resample=Image.Resampling.BICUBIC)
        turned.save(here.directory / f"{number}.png")
        rows.append({"path": f"{number}.png", "angle": f"{angle:.3f}"})
    table = write_table(here.directory / "t.csv", rows)
    found = figures(
        here,
        "turned",
        32,
        "--data.path",
        table,
        "--task",
        "number",
        "--data.columns",
        "angle",
        "--seed",
        seed,
    )
    assert found["r2"] >= 0.9
    assert found["mae"] < 15


def test_a_second_target_with_missing_answers_costs_no_accuracy(here: InProcess) -> None:
    """Which digit it is, and how many pixels of ink; of each, 30 % of the answers are missing."""
    digits = load_digits()
    for number, image in enumerate(digits.images):
        pixels = (image * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(here.directory / f"{number}.png")
    alone, together = [], []
    for seed in range(3):
        rng, rows = np.random.default_rng(100 + seed), []
        split = rng.permutation(["train"] * 1100 + ["validation"] * 250 + ["test"] * 447)
        for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            tested = split[number] == "test"
            told = (rng.random(2) >= 0.3) | tested
            rows.append(
                {
                    "path": f"{number}.png",
                    "digit": digit if told[0] else "",
                    "ink": int((image > 4).sum()) if told[1] else "",
                    "split": split[number],
                }
            )
        both = write_table(here.directory / "both.csv", rows)
        one = write_table(here.directory / "one.csv", (row for row in rows if row["digit"] != ""))
        usual = ("--seed", seed)
        single = figures(
            here, f"one{seed}", 16, "--data.path", one, "--data.columns", "digit", *usual
        )
        several = figures(
            here,
            f"both{seed}",
            16,
            *("--data.path", both, *usual),
            *("--target", "digit=one_label:digit", "--target", "ink=number:ink"),
        )
        alone.append(single["accuracy"])
        together.append(several["digit/accuracy"])
        assert several["ink/r2"] > 0.6
    assert np.mean(together) >= np.mean(alone) - 0.01
