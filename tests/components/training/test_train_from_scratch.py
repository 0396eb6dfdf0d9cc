"""The control: it takes no more than its budget, and whoever judges by it knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from components import train_from_scratch as stage
from components.artifacts import Features
from components.bless import BlessConfig, bless
from components.train_from_scratch import ControlConfig, train_from_scratch
from tests.components.frozen.test_activations import assembled, extracted
from tests.components.served.test_serving import evaluation
from tests.conftest import write_classes
from tests.helpers import PLAIN, ingested, job


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Features:
    """Decoded pictures: nothing is frozen."""
    directory = tmp_path_factory.mktemp("inputs")
    examples = ingested(directory / "examples", write_classes(directory / "photos", 20))
    return extracted(directory / "features", assembled(directory, examples), examples, "all")


def test_as_many_epochs_as_fit(
    inputs: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_SURELY_A_SECOND", 0)
    monkeypatch.setattr(stage, "step_seconds", lambda *_: 2.0)
    said: list[str] = []
    at_work = replace(job(tmp_path / "control"), say=said.append)
    config = ControlConfig(epochs=9, batch_size=16, budget="10s")
    model = train_from_scratch(at_work, inputs, config, PLAIN, seed=0)
    assert said == ["The control: at most 2 epochs of about 5 s, 9 s in all."]
    assert len(json.loads((model.directory / "history.json").read_text())["epochs"]) == 2
    assert model.cut_short == "2 of 9 epochs fit its budget of 10s"
    assert model.remarks == (f"Trained for less than was asked: {model.cut_short}.",)


def test_measuring_a_step_changes_nothing(
    inputs: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, to the bit, as without a budget."""
    config = ControlConfig(epochs=2, batch_size=16, budget="")
    plain = train_from_scratch(job(tmp_path / "plain"), inputs, config, PLAIN, seed=0)
    monkeypatch.setattr(stage, "_SURELY_A_SECOND", 0)
    within = config.model_copy(update={"budget": "1h"})
    probed = train_from_scratch(job(tmp_path / "probed"), inputs, within, PLAIN, seed=0)
    assert not probed.cut_short
    histories = [
        json.loads((model.directory / "history.json").read_text()) for model in (plain, probed)
    ]
    assert histories[0] == histories[1]


def test_the_verdict_says_that_the_control_was_cut_short(tmp_path: Path) -> None:
    candidate = evaluation(tmp_path / "candidate", 0.9)
    cut = SimpleNamespace(trained=SimpleNamespace(cut_short="2 of 9 epochs fit its budget of 10s"))
    control = evaluation(tmp_path / "control", 0.6).model_copy(update={"model": cut})
    verdict = bless(job(tmp_path / "verdict"), candidate, None, control, BlessConfig())
    assert any("(2 of 9 epochs fit its budget of 10s)" in reason for reason in verdict.reasons)
