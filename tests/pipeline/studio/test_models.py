"""What pages are told of models, and the way back to a version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.conftest import write_classes
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import client


@pytest.fixture
def served(pushed: Path, tmp_path: Path) -> TestClient:
    """A studio over a store with two versions of a model, the lower one damaged."""
    store = stores.copied(pushed, tmp_path / "store")
    shutil.copytree(pushed, store / "serving" / "photos" / "2")
    shutil.copytree(pushed, store / "serving" / "photos" / "3")
    (store / "serving" / "photos" / "2" / "saved_model.pb").write_bytes(b"damaged")
    return client(store)


def test_models_and_their_versions(served: TestClient) -> None:
    (model,) = served.get("/api/models").json()
    assert model["model"] == "photos"
    assert [(v["version"], v["served"]) for v in model["versions"]] == [
        (3, True),
        (2, False),
        (1, False),
    ]
    assert model["versions"][2]["became"] == "pushed"
    assert model["versions"][0]["labels"] == ["ant", "bee", "cat"]
    assert model["versions"][0]["modality"] == "image"


def test_a_version_is_asked_as_it_is_served(served: TestClient, tmp_path: Path) -> None:
    """By bytes; what cannot be read is no mistake, and a damaged version is one."""
    picture = next(path for path in write_classes(tmp_path / "p", 1).rglob("*") if path.is_file())
    told = served.post("/api/models/photos/1/ask", content=picture.read_bytes()).json()
    assert told["valid"]
    assert abs(sum(told["probabilities"].values()) - 1) < 1e-5
    assert not served.post("/api/models/photos/1/ask", content=b"no picture").json()["valid"]
    damaged = served.post("/api/models/photos/2/ask", content=picture.read_bytes())
    assert damaged.status_code == 400
    assert "saved_model.pb" in damaged.text
    for path in ("photos/9", "nothing/1", "..%2fphotos/1"):
        assert served.post(f"/api/models/{path}/ask", content=b"").status_code in (404, 405)
    huge = {"content-length": str(2 << 30)}
    assert served.post("/api/models/photos/1/ask", content=b"", headers=huge).status_code == 413


def test_golden_examples_and_the_way_back(served: TestClient) -> None:
    assert served.post("/api/models/photos/1/check").json()["same"] > 0
    assert served.post("/api/models/photos/2/check").status_code == 400
    asked = {"to": 1, "reason": "the last one was worse"}
    back = "/api/models/photos/rollback"
    assert served.post(back, json=asked | {"reason": " "}).status_code == 400
    assert served.post(back, json={"to": "x"}).status_code == 400
    assert served.post(back, json=asked | {"to": 9}).status_code == 404
    assert served.post(back, json=asked).json() == {"version": 4}
    (model,) = served.get("/api/models").json()
    assert model["versions"][0]["version"] == 4
    assert model["versions"][0]["reason"] == "back to version 1: the last one was worse"
    # Made by the run that has made version 1.
    assert model["versions"][0]["run_id"] == model["versions"][-1]["run_id"] is not None
