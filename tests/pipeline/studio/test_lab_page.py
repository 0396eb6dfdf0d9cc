"""What pages ask of the lab of a run."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from components.files import read_json, write_json
from pipeline.records import past_runs
from pipeline.store import Store
from pipeline.studio.workshop import Workshop
from tests.pipeline.studio.stores import client, copied


@pytest.fixture(scope="module")
def store(pushed: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(copied(pushed, tmp_path_factory.mktemp("lab") / "store"))


@pytest.fixture(scope="module")
def asked(store: Store) -> TestClient:
    return client(store.root)


@pytest.fixture(scope="module")
def lab(store: Store) -> str:
    return f"/api/runs/{past_runs(store.runs)[0].run_id}/lab"


def ended(asked: TestClient, lab: str, seconds: float = 60.0) -> dict[str, Any]:
    """The last experiment that takes long, once it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job: dict[str, Any] = asked.get(lab).json()["jobs"][-1]
        if job["state"] != "running":
            return job
        time.sleep(0.1)
    raise AssertionError("it did not end")


def test_a_page_opens_with_the_config_of_the_run(asked: TestClient, lab: str) -> None:
    told = asked.get(lab).json()
    assert told["config"]["head"]["epochs"] == 3
    assert told["first"] == "block3"
    assert told["task"] == ["one_label"]
    assert told["counts"]["train"] > told["counts"]["validation"] > 0


def test_a_change_is_answered_or_said_to_take_long(asked: TestClient, lab: str) -> None:
    whole = asked.post(f"{lab}/answer", json={"settings": {}}).json()
    assert whole["figures"].keys() == {"loss", "accuracy"}
    long = {"fine_tune.learning_rate": 0.001}
    needed = asked.post(f"{lab}/answer", json={"settings": long}).json()
    assert needed == {"needs": "fine_tune", "first": "block3"}
    body = {"settings": {}, "against": whole["id"], "keep": True}
    kept = asked.post(f"{lab}/answer", json=body).json()
    assert {each["verdict"] for each in kept["beside"]} <= {"the same", "cannot tell"}
    listed = asked.get(f"{lab}/experiments", params={"against": whole["id"]}).json()
    assert [each["id"] for each in listed] == [whole["id"]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"settings": {"data.path": "x"}}, "must change one of head, fine_tune, augment"),
        ({"settings": {"head.dropout": 7}}, "head.dropout must be below 1, got 7"),
        ({"settings": 3}, "the body must be"),
        ([], "the body must be"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(asked: TestClient, lab: str, body: Any, said: str) -> None:
    for what in ("answer", "compute", "fork"):
        answer = asked.post(f"{lab}/{what}", json=body)
        assert answer.status_code == 400
        assert said in answer.text
        assert answer.text.count("\n") == 1


def test_which_block_is_the_first_is_counted(asked: TestClient, lab: str) -> None:
    """Of a number of blocks, or a share of them; whether it is answered or takes long."""
    first = {0: None, 1: "block3", 2: "block2", "all": "stem", "25%": "block3"}
    for unfreeze, name in first.items():
        body = {"settings": {"fine_tune.unfreeze": unfreeze}}
        assert asked.post(f"{lab}/answer", json=body).json()["first"] == name, unfreeze


def test_what_diverged_is_told(asked: TestClient, lab: str, store: Store) -> None:
    """A loss that is no number any more is one that is not known."""
    body = {"settings": {}, "keep": True}
    name = asked.post(f"{lab}/answer", json=body).json()["id"]
    (path,) = store.root.glob(f"lab/*/{name}/experiment.json")
    told = read_json(path)
    phase = {"name": "train_head", "epochs": [{"val_loss": math.nan}], "best_epoch": 0}
    write_json(path, told | {"phases": [phase]})
    listed = asked.get(f"{lab}/experiments").json()
    (found,) = (each for each in listed if each["id"] == name)
    assert found["phases"][0]["epochs"] == [{"val_loss": None}]
    write_json(path, told)


def test_an_experiment_that_is_killed_has_failed(asked: TestClient, lab: str) -> None:
    """As where it takes too much memory; nobody has stopped it."""
    long = {"fine_tune.learning_rate": 0.006, "fine_tune.epochs": 5000, "fine_tune.patience": 5000}
    asked.post(f"{lab}/compute", json={"settings": long})
    max(psutil.Process().children(), key=lambda child: child.create_time()).kill()
    job = ended(asked, lab)
    assert job["state"] == "failed"
    assert "status -9" in job["why"]


def test_a_store_that_is_held_is_told_of(asked: TestClient, lab: str, store: Store) -> None:
    with store.lock():
        asked.post(f"{lab}/compute", json={"settings": {"fine_tune.learning_rate": 0.002}})
        job = ended(asked, lab)
    assert job["state"] == "failed"
    assert "is held by another run" in job["why"]


def test_an_experiment_is_stopped(asked: TestClient, lab: str) -> None:
    long = {"fine_tune.learning_rate": 0.003, "fine_tune.epochs": 5000, "fine_tune.patience": 5000}
    name = asked.post(f"{lab}/compute", json={"settings": long}).json()["id"]
    busy = asked.post(f"{lab}/compute", json={"settings": {"fine_tune.learning_rate": 0.004}})
    assert "at work on another experiment" in busy.text
    assert asked.post(f"{lab}/{name}/end", json={"stage": ""}).status_code == 200
    assert ended(asked, lab)["state"] == "stopped"
    assert asked.post(f"{lab}/{name}/end", json={"stage": ""}).status_code == 404


def test_training_is_ended_with_the_best_so_far(asked: TestClient, lab: str) -> None:
    long = {"fine_tune.learning_rate": 1e-5, "fine_tune.epochs": 9000, "fine_tune.patience": 9000}
    name = asked.post(f"{lab}/compute", json={"settings": long}).json()["id"]
    with asked.stream("GET", f"{lab}/{name}/events") as events:
        seen = ""
        for text in events.iter_text():
            seen += text
            if seen.count('"event": "epoch"') > 5 and '"fine_tune"' in seen:
                asked.post(f"{lab}/{name}/end", json={"stage": "fine_tune"})
            if "event: over" in seen:
                break
    assert '"by_hand": true' in seen
    assert ended(asked, lab)["state"] == "done"
    (found,) = [e for e in asked.get(f"{lab}/experiments").json() if e["id"] == name]
    assert len(found["phases"][-1]["epochs"]) < 9000


def test_no_experiment_leads_out_of_the_store(asked: TestClient, lab: str) -> None:
    for name in ("..", "%2e%2e", "..%2f..", "none"):
        assert asked.post(f"{lab}/{name}/end", json={"stage": "x"}).status_code in (404, 405)
    assert asked.get(f"{lab}/..%2f..%2fruns/events").status_code == 404
    assert asked.get("/api/runs/none/lab").status_code == 404


def test_who_may_only_read_computes_nothing(store: Store, lab: str) -> None:
    reading = client(store.root, read_only=True)
    assert reading.post(f"{lab}/answer", json={"settings": {}}).status_code == 403
    assert reading.get(lab).status_code == 200


def test_a_lab_that_was_killed_answers_again(store: Store) -> None:
    workshop, record = Workshop(store), past_runs(store.runs)[0]
    before = workshop.answer(record, {}, "", keep=False)
    process = workshop._worker.process
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert workshop.answer(record, {}, "", keep=False)["figures"] == before["figures"]
    workshop.close()
    assert not workshop._worker.process.is_alive()


@pytest.mark.slow
def test_a_fork_is_started_and_goes_on_by_itself(asked: TestClient, lab: str, store: Store) -> None:
    """It is of the same recipe, and pushes to the same directory."""
    body = {"settings": {"head.dropout": 0.45}, "start": True}
    told = asked.post(f"{lab}/fork", json=body).json()
    path = store.runs / f"{told['run_id']}.json"
    until = time.monotonic() + 240
    while read_json(path)["outcome"] == "running" and time.monotonic() < until:
        time.sleep(0.5)
    first, last = past_runs(store.runs)[0], read_json(path)
    assert last["outcome"] in ("pushed", "not blessed", "unchanged")
    assert last["settings"]["head.dropout"] == 0.45
    assert (last["recipe"], last["serving"]) == (first.recipe, first.serving)
