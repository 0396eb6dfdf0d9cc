"""The control: it gets the care that transfer gets, takes no more than its budget, and says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from components.artifacts import Examples, Features
from components.train_control import ControlConfig, train_control
from components.training import scratch
from models.mistakes import Mistake
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import write_classes
from tests.helpers import PLAIN, ingested, job


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    directory = tmp_path_factory.mktemp("inputs")
    return ingested(directory / "examples", write_classes(directory / "photos", 20))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, examples: Examples) -> Features:
    """Decoded pictures: nothing is frozen."""
    directory = tmp_path_factory.mktemp("inputs")
    return extracted(directory / "features", assembled(directory, examples), examples, "all")


def test_as_many_epochs_as_fit(
    inputs: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_SURELY_A_SECOND", 0)
    monkeypatch.setattr(scratch, "step_seconds", lambda *_: 2.0)
    said: list[str] = []
    at_work = replace(job(tmp_path / "control"), say=said.append)
    config = ControlConfig(epochs=9, batch_size=16, budget="10s", learning_rate=1e-3)
    model = train_control(at_work, inputs, inputs, config, PLAIN, seed=0)
    assert said == ["The control: at most 2 epochs of about 5 s, 9 s in all."]
    assert len(json.loads((model.directory / "history.json").read_text())["epochs"]) == 2
    assert model.cut_short == "2 of 9 epochs fit its budget of 10s"
    assert model.remarks == (f"Trained for less than was asked: {model.cut_short}.",)
    rivals = json.loads((model.directory / "rivals.json").read_text())
    assert "may take longer than 10s" in rivals["left_out"]


def test_measuring_a_step_changes_nothing(
    inputs: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, to the bit, as without a budget."""
    config = ControlConfig(epochs=2, batch_size=16, budget="", network="never")
    plain = train_control(job(tmp_path / "plain"), inputs, inputs, config, PLAIN, seed=0)
    monkeypatch.setattr(scratch, "_SURELY_A_SECOND", 0)
    within = config.model_copy(update={"budget": "1h"})
    probed = train_control(job(tmp_path / "probed"), inputs, inputs, within, PLAIN, seed=0)
    assert not probed.cut_short
    histories = [
        json.loads((model.directory / "history.json").read_text()) for model in (plain, probed)
    ]
    assert histories[0] == histories[1]


def test_the_same_network_is_tried_too(
    inputs: Features, examples: Examples, tmp_path: Path
) -> None:
    """Whether its inputs are in the store, or are decoded again for every batch."""
    frozen = extracted(tmp_path / "frozen", assembled(tmp_path, examples), examples, 0)
    config = ControlConfig(epochs=2, batch_size=16, learning_rate=1e-3, network="always")
    for name, transferred in (("stored", inputs), ("live", frozen)):
        model = train_control(job(tmp_path / name), inputs, transferred, config, PLAIN, seed=0)
        rivals = json.loads((model.directory / "rivals.json").read_text())
        assert [row["network"] for row in rivals["tried"]] == [
            f"a small network ({inputs.model.backbone})",
            f"the same network ({transferred.model.backbone})",
        ]
        losses = [row["val_loss"] for row in rivals["tried"]]
        assert model.title == rivals["tried"][int(np.argmin(losses))]["network"]
        assert rivals["left_out"] == ""


def test_averages_of_normalization_fit_the_number_of_steps(
    inputs: Features, tmp_path: Path
) -> None:
    """MobileNet's momentum of 0.999 leaves those of the first weights after 500 steps."""
    pictures = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="block1_conv")(pictures)
    x = keras.layers.BatchNormalization(momentum=0.999, name="block1_bn")(x)
    network = keras.Model(pictures, keras.layers.GlobalAveragePooling2D(name="pooling")(x))
    config = ControlConfig(epochs=1, batch_size=16)
    whole = scratch.Whole.of(job(tmp_path / "x"), inputs.model, network, inputs, config, PLAIN, 0)
    [normalization] = [
        layer
        for layer in whole.model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert normalization.momentum == 0.9


def test_bad_settings_are_mistakes() -> None:
    with pytest.raises(Mistake, match=r"control\.budget must be a time such as 30m"):
        ControlConfig(budget="soon")
    with pytest.raises(Mistake, match=r"control\.learning_rate must be above 0"):
        ControlConfig(learning_rate=-1)
