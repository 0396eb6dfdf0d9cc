"""Real photographs and real ImageNet weights, where the project's developers have them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import SHARED, CommandLine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SHARED / "keras_home").is_dir(), reason="real photographs and weights are not here"
    ),
]


def test_ants_and_bees(command_line: CommandLine) -> None:
    """0.92 or better, the stray GIF named; then everything is reused, without TensorFlow."""
    home = {"KERAS_HOME": str(SHARED / "keras_home")}
    arguments = ("photos", "--data.path", SHARED / "data" / "hymenoptera")
    first = command_line.result(*arguments, **home)
    assert first["metrics"]["test"]["accuracy"] >= 0.92
    [ingest] = [stage for stage in first["stages"] if stage["name"] == "ingest"]
    [stray] = ingest["stats"]["quarantine"]
    assert stray["name"] == "train/ants/imageNotFound.gif"
    assert "GIF" in stray["reason"]
    assert "imageNotFound.gif" in Path(first["report"]).read_text()

    started = time.monotonic()
    again = command_line.result(*arguments, **home)
    assert time.monotonic() - started < 3
    assert {stage["status"] for stage in again["stages"]} == {"reused"}
    assert again["pushed"] == first["pushed"]


def test_weights_from_a_local_file_are_the_same_weights(command_line: CommandLine) -> None:
    """MobileNet 0.25, by its published name and by the path of the same file."""
    arguments = (
        *("photos", "--data.path", SHARED / "data" / "hymenoptera"),
        *("--model.backbone", "MobileNet-0.25", "--fine-tune.unfreeze", "0"),
        *("--augment.views", "1"),
    )
    published = command_line.result(*arguments, KERAS_HOME=str(SHARED / "keras_home"))
    file = SHARED / "keras_home" / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    local = command_line.result(*arguments, "--model.weights", file, "--bless.force", "a test")
    assert local["metrics"]["test"]["accuracy"] == published["metrics"]["test"]["accuracy"]
    [extract] = [stage for stage in local["stages"] if stage["name"] == "extract"]
    assert extract["stats"]["computed"] == 0
