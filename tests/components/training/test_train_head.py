"""How a head is found: its learning rate, its width."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.artifacts import Features
from components.train_head import train_head
from components.training.head_config import HeadConfig
from models import heads, objectives, optimization, training
from models.range_test import range_test
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import write_classes
from tests.helpers import PLAIN, ingested, job
from tests.models.test_training import separable


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    directory = tmp_path_factory.mktemp("features")
    examples = ingested(directory / "examples", write_classes(directory / "photos", 20))
    return extracted(directory / "features", assembled(directory, examples), examples)


def test_a_range_test_finds_a_rate_that_trains_well() -> None:
    """Not so low that nothing is learnt in a few epochs, not so high that the loss blows up."""
    head = heads.build_head(features=4, outputs=[("probabilities", 2, "softmax")], normalize=False)
    objective = objectives.single(2)
    found = range_test(head, separable(200, 0), objective=objective, batch_size=16, seed=0)
    assert 1e-3 < found < 0.5
    again = heads.build_head(features=4, outputs=[("probabilities", 2, "softmax")], normalize=False)
    examples = separable(200, 0)
    history = training.train(
        again,
        examples,
        separable(100, 1),
        optimizer=optimization.build_optimizer(learning_rate=found, steps=8 * 13),
        objective=objective,
        length=training.Length(8, 16),
        seed=0,
    )
    assert history.best["val_accuracy"] > 0.9


def test_the_rate_that_was_found_is_the_one_that_is_used(
    tmp_path: Path, features: Features
) -> None:
    config = HeadConfig.model_validate({"learning_rate": "auto", "epochs": 3})
    model = train_head(job(tmp_path / "head"), features, config, PLAIN, seed=0)
    history = json.loads((model.directory / "history.json").read_text())
    assert 1e-5 < model.stats["highest_learning_rate"] < 1
    first = history["epochs"][0]["learning_rate"]
    assert first == pytest.approx(model.stats["highest_learning_rate"], rel=1e-4)


def test_a_search_is_no_worse_than_what_it_began_with_and_tells_of_all_it_tried(
    tmp_path: Path, features: Features
) -> None:
    config = HeadConfig(epochs=2, search=4, hidden=3)
    model = train_head(job(tmp_path / "head"), features, config, PLAIN, seed=0)
    told = json.loads((model.directory / "search.json").read_text())
    assert len(told["trials"]) == 4
    assert told["trials"][0]["hidden"] == 3
    losses = [trial["val_loss"] for trial in told["trials"]]
    assert losses[told["best"]] == min(losses) == pytest.approx(model.stats["val_loss"], abs=1e-5)
    assert (model.form.hidden, model.form.dropout) == tuple(
        told["trials"][told["best"]][key] for key in ("hidden", "dropout")
    )
    same = train_head(job(tmp_path / "again"), features, config, PLAIN, seed=0)
    assert np.isclose(same.stats["val_loss"], model.stats["val_loss"])


def test_the_audit_of_the_head(tmp_path: Path, features: Features) -> None:
    model = train_head(job(tmp_path / "head"), features, HeadConfig(epochs=3), PLAIN, seed=0)
    audit = json.loads((model.directory / "audit.json").read_text())
    assert set(audit["moved"]) == {"probabilities/kernel", "probabilities/bias"}
    assert {"normalization/mean", "normalization/variance"} <= set(audit["frozen"])
