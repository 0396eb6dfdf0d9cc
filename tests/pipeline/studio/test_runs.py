"""What pages are told of runs."""

from __future__ import annotations

from pathlib import Path

from pipeline.events import EVENTS, line
from tests.pipeline.studio.stores import beginning, client, epoch, record, tell


def test_runs_the_newest_first(tmp_path: Path) -> None:
    record(tmp_path, "A", started="2026-11-01T00:00:00Z")
    record(tmp_path, "B", started="2026-11-02T00:00:00Z", outcome="not blessed", pushed=None)
    (tmp_path / "runs" / "broken.json").write_text("{")
    rows = client(tmp_path).get("/api/runs").json()
    assert [row["run_id"] for row in rows] == ["B", "A"]
    assert rows[1]["version"] == 3
    assert rows[0]["figures"] == {"accuracy": 0.9}


def test_a_run_with_all_that_happened(tmp_path: Path) -> None:
    folder = record(tmp_path, "RUN")
    alert = {"stage": "train_head", "kind": "flat", "message": "it stands still"}
    tell(folder, [*beginning(), epoch(0, 0.9), epoch(1, 0.7), line("warning", "alert", alert)])
    run = client(tmp_path).get("/api/runs/RUN").json()
    assert run["offset"] == (folder / EVENTS).stat().st_size
    (phase,) = run["phases"]
    assert phase["figures"]["val_loss"] == [1.0, 0.8]
    assert phase["updates"] == {"head": [0.002, 0.002]}
    assert phase["stopping"]["patience"] == 5
    assert run["alerts"][0]["message"] == "it stands still"
    assert [s["status"] for s in run["stages"]] == [
        "would run",
        "would run",
        "running",
        "would run",
    ]


def test_a_run_of_before_there_were_events(tmp_path: Path) -> None:
    stage = {"name": "ingest", "status": "ran", "seconds": 1.0, "artifact": "ingest/x"}
    record(tmp_path, "OLD", stages=[stage])
    run = client(tmp_path).get("/api/runs/OLD").json()
    assert (run["stages"], run["phases"], run["offset"]) == ([stage], [], 0)


def test_runs_side_by_side(pushed: Path) -> None:
    """The page that `compare --page` writes; what cannot be compared is told in a line."""
    store = pushed.parents[2]
    (run,) = client(store).get("/api/runs").json()
    answer = client(store).get(f"/compare?run={run['run_id']}&run={run['run_id']}")
    assert run["run_id"] in answer.text
    assert "sandbox" in answer.headers["content-security-policy"]
    assert client(store).get(f"/compare?run={run['run_id']}").status_code == 400
    missing = client(store).get(f"/compare?run={run['run_id']}&run=nothing")
    assert (missing.status_code, missing.json()["error"]) == (404, "there is no run 'nothing'")
