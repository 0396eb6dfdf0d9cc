"""Why a model says what it says, as the studio tells it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipeline.studio.stores import client, copied


def test_why_a_model_says_what_it_says(pushed: Path, tmp_path: Path) -> None:
    """What of an example counted, on a page that may do nothing, and what is most like it."""
    store = copied(pushed, tmp_path / "store")
    (run,) = (store / "runs").glob("*.json")
    asked = client(store)
    data = f"/api/runs/{run.stem}/data"
    (first,) = asked.get(data, params={"split": "train", "count": 1}).json()["rows"]
    raw = asked.get(f"{data}/{first['id']}/raw").content
    version = "/api/models/photos/1"
    page = asked.post(f"{version}/why", content=raw).json()["page"]
    answer = asked.get(page)
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.text.count("<img") == 2
    near = asked.post(f"{version}/near", content=raw).json()
    assert near["run_id"] == run.stem
    # Of what it was trained on, it is most like itself.
    assert near["rows"][0]["id"] == first["id"]
    assert near["rows"][0]["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert [row["cosine"] for row in near["rows"]] == sorted(
        (row["cosine"] for row in near["rows"]), reverse=True
    )
    for what in ("why", "near"):
        refused = asked.post(f"{version}/{what}", content=b"no picture")
        assert refused.status_code == 400
        assert "must be one that can be read" in refused.text
        assert asked.post(f"/api/models/photos/7/{what}", content=raw).status_code == 404
        assert asked.post(f"/api/models/nothing/1/{what}", content=raw).status_code == 404
    assert asked.get("/why/none").status_code == 404
    serving = store / "serving" / "photos"
    shutil.copytree(serving / "1", serving / "2")  # Nobody knows whose it is.
    assert asked.post("/api/models/photos/2/near", content=raw).json()["run_id"] is None
    reason = {"to": 1, "reason": "a test"}
    assert asked.post("/api/models/photos/rollback", json=reason).json() == {"version": 3}
    assert asked.post("/api/models/photos/3/near", content=raw).json()["run_id"] == run.stem
    run.unlink()
    assert asked.post(f"{version}/near", content=raw).json()["rows"] == []
