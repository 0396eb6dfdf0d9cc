"""Verdicts on tasks whose truth is known: each can come out the other way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from models.backbones import build_backbone
from tests.conftest import SHARED, CommandLine

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(
        not (SHARED / "keras_home").is_dir(), reason="real photographs and weights are not here"
    ),
]
HOME = {"KERAS_HOME": str(SHARED / "keras_home")}
ANTS = ("photos", "--data.path", SHARED / "data" / "hymenoptera")
ASKED = ("--bless.min-transfer-gain", "0")


def transferring(result: dict[str, Any]) -> str:
    [said] = [reason for reason in result["reasons"] if "transferring" in reason]
    return str(said)


def test_a_giant_that_knows_something(command_line: CommandLine) -> None:
    """And a control that is no straw man: well above always giving the same answer."""
    result = command_line.result(*ANTS, *ASKED, **HOME)
    assert result["blessed"]
    assert "transferring helped" in transferring(result)
    assert result["metrics"]["control"]["accuracy"] > 0.6


def test_the_same_giant_with_its_weights_shuffled(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", HOME["KERAS_HOME"])
    network = build_backbone("MobileNetV2", weights="imagenet")
    rng = np.random.default_rng(0)
    network.set_weights(
        [rng.permutation(w.ravel()).reshape(w.shape) for w in network.get_weights()]
    )
    network.save_weights(tmp_path / "shuffled.weights.h5")
    weights = ("--model.weights", tmp_path / "shuffled.weights.h5")
    done = command_line.run(*ANTS, *ASKED, *weights, **HOME)
    assert done.returncode == 3, done.stderr
    assert ": transferring helped" not in done.stdout  # At most it cannot be told whether it did.
    assert "a gain of surely 0 is asked for" in done.stdout


def test_a_task_that_has_little_to_do_with_photographs(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Digits of 8 × 8 pixels, of which there are more than a thousand: scratch is better."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((pixels * 255 / 16).astype("uint8"))
        grey.convert("RGB").save(folder / f"{number}.png")
    arguments = ("photos", "--data.path", tmp_path / "digits", "--data.test-fraction", "0.4")
    more = ("--augment.policies", "shift,rotation", "--control.budget", "5m")
    done = command_line.run(*arguments, *more, **HOME)
    assert done.returncode == 3, done.stderr
    assert "transferring hurt" in done.stdout
