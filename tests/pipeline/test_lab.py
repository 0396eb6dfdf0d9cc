"""Experiments on what a run has stored."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.files import read_json
from components.judging import by_example
from models.mistakes import Mistake
from pipeline import api
from pipeline.console import Several
from pipeline.events import end_file
from pipeline.interpreters.aside import NotQuick
from pipeline.lab.experiment import Experiment, identity
from pipeline.lab.lab import Lab
from pipeline.records import RunRecord, past_runs
from pipeline.store import Store, StoreIsHeld
from tests.pipeline.studio.stores import copied

QUIET = Several()


@pytest.fixture(scope="module")
def store(pushed: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Of a run whose last block was fine-tuned."""
    return Store(copied(pushed, tmp_path_factory.mktemp("lab") / "store"))


@pytest.fixture(scope="module")
def run(store: Store) -> RunRecord:
    return past_runs(store.runs)[0]


@pytest.fixture(scope="module")
def lab(store: Store, run: RunRecord) -> Iterator[Lab]:
    found = Lab(store, run)
    yield found
    found.close()


# What was stored for fine-tuning has the features for a head, too.
HEAD = {"fine_tune.unfreeze": 0}


@pytest.fixture(scope="module")
def stored(lab: Lab) -> Experiment:
    """The first that leaves the giant frozen: it stores what a head reads."""
    return lab.experiment(HEAD, QUIET)


def test_a_head_comes_to_what_a_run_with_that_config_comes_to(
    store: Store, run: RunRecord, lab: Lab, stored: Experiment
) -> None:
    settings = {**HEAD, "head.learning_rate": 0.02, "head.dropout": 0.4}
    found = lab.answer(settings)
    assert found.figures != stored.figures
    result = api.run("photos", lab.config_of(settings), store=store.root, log=QUIET)
    (head,) = (step for step in result.steps if step.name == "train_head")
    history = read_json(Path(head.artifact) / "history.json")
    assert found.phases == [{"name": "train_head", **history}]
    assert found.figures["accuracy"] == pytest.approx(
        history["epochs"][history["best_epoch"]]["val_accuracy"]
    )


def test_what_is_minimized_is_not_what_is_compared(lab: Lab, stored: Experiment) -> None:
    """A smoothed label has a loss that no answer is below, and 0 is what can be reached."""
    smoothed = {"one_label.label_smoothing": 0.6, "head.epochs": 60, "head.learning_rate": 0.02}
    found = lab.answer({**HEAD, **smoothed})
    (phase,) = found.phases
    least = -(0.6 * np.log(0.6) + 0.4 * np.log(0.2))
    assert min(epoch["val_loss"] for epoch in phase["epochs"]) > least - 1e-3
    assert found.figures["loss"] < least / 2
    weighed = lab.answer({**HEAD, "one_label.focal_gamma": 5.0})
    assert weighed.figures["loss"] > 0.1 * stored.figures["loss"]


def test_a_head_is_tried_while_another_run_holds_the_store(
    store: Store, run: RunRecord, stored: Experiment
) -> None:
    def files() -> dict[str, float]:
        found = (path for path in store.root.rglob("*") if path.is_file())
        return {str(path): path.stat().st_mtime for path in found if path.name != "lock"}

    before = files()
    with store.lock():
        other = Lab(store, run)
        found = other.answer({**HEAD, "head.hidden": 8})
        other.close()
    assert found.phases
    assert files() == before


def test_what_takes_long_is_not_begun_unasked(lab: Lab, run: RunRecord, store: Store) -> None:
    with pytest.raises(NotQuick, match="extract"):
        lab.answer({"augment.views": 2})
    with pytest.raises(NotQuick, match="fine_tune"):
        lab.answer({"fine_tune.learning_rate": 1e-3})
    with store.lock(), pytest.raises(StoreIsHeld):
        lab.compute({"fine_tune.learning_rate": 1e-3}, QUIET)


def test_fine_tuning_is_kept_and_reused_by_a_fork(lab: Lab, store: Store) -> None:
    settings = {"fine_tune.learning_rate": 1e-3, "fine_tune.epochs": 2}
    found = lab.experiment(settings, QUIET)
    assert [phase["name"] for phase in found.phases] == ["train_head", "fine_tune"]
    assert found.forgotten
    assert found.forgotten["blocks"]
    assert found.id in [each.id for each in lab.kept()]
    events = (lab.folder / found.id / "events.jsonl").read_text()
    assert '"event": "epoch"' in events
    assert '"event": "run ended"' in events
    path, command = lab.fork(settings)
    assert command[:2] == ["run", str(path)]
    planned = {step.name: step.status for step in api.plan(str(path), store=store.root).steps}
    assert planned["fine_tune"] == planned["train_head"] == planned["extract"] == "reused"
    # At once, now that it is there; it is one experiment.
    assert lab.answer(settings).figures == found.figures


def test_a_head_that_is_not_trained_destroys_what_it_is_trained_with(lab: Lab) -> None:
    destroying = {"head.kind": "untrained", "head.begin": "random", "fine_tune.learning_rate": 0.5}
    destroying |= {"fine_tune.unfreeze": "all", "fine_tune.epochs": 2}
    destroyed = lab.experiment(destroying, QUIET)
    careful = lab.experiment({"fine_tune.unfreeze": "all", "fine_tune.epochs": 2}, QUIET)
    left = [
        min(row["cka"] for row in found.forgotten["blocks"] if row["cka"] is not None)
        for found in (destroyed, careful)
        if found.forgotten
    ]
    assert left[0] < 0.9 < 0.99 < left[1]


def test_experiments_are_compared_by_example(lab: Lab, stored: Experiment) -> None:
    worse = lab.answer({**HEAD, "head.epochs": 1, "head.learning_rate": 1e-6})
    told = {each["name"]: each for each in worse.beside(stored)}
    assert told["loss"]["verdict"] == "worse"
    assert told["loss"]["low"] > 0
    assert {each["name"]: each["verdict"] for each in stored.beside(worse)}["loss"] == "better"
    assert {each["verdict"] for each in stored.beside(stored)} <= {"the same", "cannot tell"}


def test_what_cannot_be_tried_is_told_in_a_line(lab: Lab, store: Store, run: RunRecord) -> None:
    for settings, message in (
        ({"data.path": "elsewhere"}, "an experiment must change one of head, fine_tune"),
        ({"head.dropot": 1}, "dropot"),
        ({"head.dropout": 2}, "head.dropout must be below 1"),
        ({**HEAD, "head.kind": "untrained"}, "head.kind must be one that is trained where nothing"),
        ({"fine_tune.unfreeze": "blocks"}, "fine_tune.unfreeze must be a block"),
    ):
        with pytest.raises(Mistake, match=message):
            lab.experiment(settings, QUIET)
    with pytest.raises(Mistake, match="is of an earlier version"):
        Lab(store, run.model_copy(update={"settings": {}}))
    with pytest.raises(Mistake, match="of which it is gone"):
        Lab(store, run.model_copy(update={"stages": []}))


def test_the_network_is_drawn_with_what_crosses_each_cut(lab: Lab) -> None:
    blocks = lab.network()
    assert [block["name"] for block in blocks] == lab.model.stats["blocks"]
    assert blocks[0]["crossing"] in ([[16, 16, 3]], ((16, 16, 3),))
    assert sum(block["weights"] for block in blocks) == lab.model.stats["frozen_weights"]
    assert lab.network() == read_json(lab.folder / "network.json")


def test_the_first_batch_is_what_the_giant_reads(lab: Lab) -> None:
    told = lab.batch()
    # Batches are as even as can be: 42 examples are two of 21.
    assert (lab.examples.counts["train"], told["size"]) == (42, 21)
    assert len(told["rows"]) == 12
    for row in told["rows"]:
        (view,) = row["views"]
        assert view["kind"] == "image/png"
        assert Image.open(io.BytesIO(base64.b64decode(view["data"]))).size == (16, 16)


def test_an_experiment_goes_on_that_was_ended_before(lab: Lab) -> None:
    settings = {"fine_tune.learning_rate": 2e-3, "fine_tune.epochs": 3, "fine_tune.patience": 3}
    folder = lab.folder / identity(settings)
    folder.mkdir(parents=True)
    end_file(folder, "fine_tune").touch()
    found = lab.compute(settings, QUIET)
    assert len(found.phases[-1]["epochs"]) == 3
    assert lab.known(f"../{lab.record.run_id}/{found.id}") is None


def test_from_python(store: Store, run: RunRecord, stored: Experiment) -> None:
    opened = api.lab(run.run_id, store=store.root)
    found = opened.experiment({**HEAD, "head.dropout": 0.1}, QUIET)
    assert list(found.frame.index.names) == ["phase", "epoch"]
    assert len(found.frame) == len(found.phases[0]["epochs"])
    assert {found.id, stored.id} <= set(opened.frame.index)
    assert list(opened.compared(found, stored.id).index) == ["loss", "accuracy"]
    with pytest.raises(Mistake, match=f"must be one of run, .*{stored.id}"):
        opened.compared(found, "another")
    assert api.lab(store=store.root).record.run_id == past_runs(store.runs)[-1].run_id
    with pytest.raises(Mistake, match="RUN must be the id of a run"):
        api.lab("none", store=store.root)
    opened.close()


def test_a_share_and_a_mean_have_intervals_of_what_differs() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random(400) < 0.7).astype(float)
    better = np.maximum(right, rng.random(400) < 0.3)
    share, loss = by_example.compare(
        {"accuracy": better, "loss": 1 - better + 0.01 * rng.random(400)},
        {"accuracy": right, "loss": 1 - right + 0.01 * rng.random(400)},
    )
    for told in (share, loss):
        assert told.low < told.change < told.high
        assert told.low * told.high > 0
    (nothing,) = by_example.compare({"accuracy": right}, {"accuracy": right})
    assert nothing.low < 0 < nothing.high


def test_nothing_is_left_of_a_lab_that_was_closed(store: Store, run: RunRecord) -> None:
    opened = Lab(store, run)
    opened.answer({**HEAD, "head.dropout": 0.3})
    place: Any = opened.place
    assert os.listdir(place)
    opened.close()
    assert not place.exists()
