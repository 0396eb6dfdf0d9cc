"""`serve`: TensorFlow Serving's REST API, asked as its documentation says."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from components.served import opening
from components.served.hosting import Hosting, Policy, Unknown
from models.mistakes import Mistake
from pipeline.studio.hosted import Hosted
from pipeline.studio.rest import Rest
from tests.conftest import ROOT, write_classes


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Pictures as JSON has their bytes."""
    folder = write_classes(tmp_path_factory.mktemp("asked"), 2, ("ant", "bee"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [{"b64": base64.b64encode(path.read_bytes()).decode()} for path in files]


@pytest.fixture(scope="module")
def hosting(pushed: Path) -> Hosting:
    made = Hosting(pushed.parent, labels={"stable": 1, "canary": 9})
    made.refresh()
    return made


def rest(hosting: Hosting, **options: Any) -> TestClient:
    known = {"most": 64, "most_bytes": 1 << 20, "threads": 2, "waiting": 64} | options
    return TestClient(Rest(hosting, "photos", **known).app(), base_url="http://localhost:8501")


@pytest.fixture(scope="module")
def client(hosting: Hosting) -> TestClient:
    return rest(hosting)


def test_rows(client: TestClient, raws: list[dict[str, str]]) -> None:
    """A value each where there is one input, or objects by its name: a row of outputs each."""
    answer = client.post("/v1/models/photos:predict", json={"instances": raws})
    assert answer.status_code == 200
    rows = answer.json()["predictions"]
    assert len(rows) == len(raws)
    assert all(row["valid"] for row in rows)
    assert abs(sum(rows[0]["probabilities"]) - 1) < 1e-5
    named = [{"raw": raw} for raw in raws]
    again = client.post("/v1/models/photos:predict", json={"instances": named})
    assert again.json() == answer.json()


def test_columns(client: TestClient, raws: list[dict[str, str]]) -> None:
    rows = client.post("/v1/models/photos:predict", json={"instances": raws}).json()["predictions"]
    for inputs in (raws, {"raw": raws}):
        answer = client.post("/v1/models/photos:predict", json={"inputs": inputs})
        outputs = answer.json()["outputs"]
        assert outputs["probabilities"] == [row["probabilities"] for row in rows]
        assert outputs["labels"] == [row["labels"] for row in rows]


def test_a_signature_by_its_name(client: TestClient, raws: list[dict[str, str]]) -> None:
    """Of vectors; and one that takes numbers."""
    embed = {"signature_name": "embed", "instances": raws}
    vectors = client.post("/v1/models/photos:predict", json=embed).json()["predictions"]
    assert abs(sum(x * x for x in vectors[0]["embedding"]) - 1) < 1e-4
    grey = [[[0.5] * 3] * 16] * 16
    decoded = {"signature_name": "serve_float", "instances": [grey]}
    answer = client.post("/v1/models/photos:predict", json=decoded)
    assert answer.json()["predictions"][0]["labels"]


def test_versions_and_labels(client: TestClient, raws: list[dict[str, str]]) -> None:
    ask = {"instances": raws[:1]}
    want = client.post("/v1/models/photos:predict", json=ask).json()
    for which in ("versions/1", "labels/stable"):
        assert client.post(f"/v1/models/photos/{which}:predict", json=ask).json() == want
    for which in ("versions/9", "labels/canary", "labels/nothing", "versions/x"):
        refused = client.post(f"/v1/models/photos/{which}:predict", json=ask)
        assert refused.status_code == 404
        assert refused.json()["error"].startswith("Servable not found for request: photos")


def test_status(client: TestClient) -> None:
    state = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("", "/versions/1", "/labels/stable"):
        answer = client.get(f"/v1/models/photos{path}")
        assert answer.json() == {"model_version_status": [state]}


def test_metadata(client: TestClient) -> None:
    told = client.get("/v1/models/photos/metadata").json()
    assert told["model_spec"] == {"name": "photos", "signature_name": "", "version": "1"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "serve_float", "embed"}
    raw = signatures["serving_default"]["inputs"]["raw"]
    assert raw["dtype"] == "DT_STRING"
    assert raw["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the body must be JSON"),
        ("[" * 100_000, "the body must be JSON"),
        ("[]", "the body must be a JSON object"),
        ("{}", "either instances or inputs"),
        ('{"instances": [], "inputs": []}', "either instances or inputs"),
        ('{"instances": []}', "a list of one or more"),
        ('{"instances": {"b64": ""}}', "a list of one or more"),
        ('{"instances": [1]}', "raw must be of type string"),
        ('{"instances": [{"b64": "no"}], "signature_name": "nothing"}', "signature_name must be"),
        ('{"instances": [{"b64": "*"}]}', "b64 that is none"),
        ('{"instances": [{"other": 1}]}', "inputs must be raw, got other"),
        ('{"instances": [["a"], ["b", "c"]]}', "raw must be of type string"),
        ('{"inputs": {}}', "inputs must have raw"),
        ('{"instances": [[["a"]]]}', "raw must have the shape (any,), got (1, 1, 1)"),
        ('{"inputs": []}', "inputs must have one example or more"),
        ('{"inputs": "a"}', "raw must have the shape (any,), got ()"),
        # Which ended TensorFlow, and so the server.
        ('{"signature_name": "serve_float", "instances": [[[1, 2]]]}', "must have the shape"),
        ('{"signature_name": ["x"], "instances": ["a"]}', "signature_name must be"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(client: TestClient, body: str, said: str) -> None:
    answer = client.post("/v1/models/photos:predict", content=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_damaged_picture_leaves_its_neighbours(
    client: TestClient, raws: list[dict[str, str]]
) -> None:
    answer = client.post("/v1/models/photos:predict", json={"instances": [raws[0], "no picture"]})
    assert [row["valid"] for row in answer.json()["predictions"]] == [True, False]


def test_limits(hosting: Hosting, raws: list[dict[str, str]]) -> None:
    """Of instances, and of bytes, whether their number is said or not."""
    small = rest(hosting, most=1, most_bytes=10_000)
    many = small.post("/v1/models/photos:predict", json={"instances": raws[:2]})
    assert (many.status_code, "at most 1" in many.json()["error"]) == (400, True)
    large = b" " * 20_000
    assert small.post("/v1/models/photos:predict", content=large).status_code == 413
    parts = iter([large[:6000], large[:6000]])
    assert small.post("/v1/models/photos:predict", content=parts).status_code == 413
    huge = {"content-length": str(2 << 30)}
    said = small.post("/v1/models/photos:predict", content=b"{}", headers=huge)
    assert said.status_code == 413
    none = rest(hosting, threads=1, waiting=-1)
    assert none.post("/v1/models/photos:predict", json={"instances": raws}).status_code == 503


def test_another_name_for_this_machine_is_refused(client: TestClient) -> None:
    for host, status in (("evil.example:8501", 400), ("127.0.0.1:8501", 200)):
        assert client.get("/v1/models/photos", headers={"host": host}).status_code == status


def test_other_paths(client: TestClient) -> None:
    for path in ("/", "/v1/models/photos:classify", "/v1/models", "/v1/models/photos:predict"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]
    assert client.get("/v1/models/other").status_code == 404


def test_which_versions_are_wanted() -> None:
    there = [1, 2, 3, 7]
    assert Policy().wanted(there) == [7]
    assert Policy(latest=2).wanted(there) == [3, 7]
    assert Policy(latest=0).wanted(there) == there
    assert Policy(specific=(2, 9)).wanted(there) == [2]
    assert Hosted.of("2,3", ["a=4"], "1MB").policy == Policy(specific=(2, 3))
    assert Hosted.of("all", ["a=4"], "1MB").labels == {"a": 4}
    for versions in ("", "0", "x", "1,x", "-1"):
        with pytest.raises(Mistake, match="--versions must be"):
            Hosted.of(versions, [], "1MB")


def test_a_new_version_answers_and_a_damaged_one_does_not(pushed: Path, tmp_path: Path) -> None:
    """What answered goes on until another one does; nothing that is not whole is touched."""
    said: list[str] = []
    place = tmp_path / "photos"
    shutil.copytree(pushed, place / "1")
    hosting = Hosting(place, say=said.append)
    hosting.refresh()
    assert hosting.find().number == 1
    shutil.copytree(pushed, place / ".incoming-2")
    (place / "3").mkdir()
    hosting.refresh()
    assert [version.number for version in hosting.states()] == [1]
    shutil.copytree(pushed, place / "4")
    (place / "4" / "saved_model.pb").write_bytes(b"damaged")
    hosting.refresh()
    hosting.refresh()
    assert hosting.find().number == 1
    assert [(v.number, v.state) for v in hosting.states()] == [(4, "END"), (1, "AVAILABLE")]
    assert [text.partition(":")[0] for text in said] == [
        "version 1 answers",
        "version 4 cannot be loaded",
    ]
    (place / ".incoming-2").rename(place / "5")
    hosting.refresh()
    assert hosting.find().number == 5
    assert [version.number for version in hosting.states()] == [5]
    with pytest.raises(Unknown):
        hosting.find(1)
    shutil.rmtree(place / "5")
    hosting.refresh()
    with pytest.raises(Unknown):
        hosting.find()


def test_what_is_this_machines_fault_is_tried_again(
    pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing that it meets ends the thread that looks for new versions."""
    place, said = tmp_path / "photos", list[str]()
    shutil.copytree(pushed, place / "1")
    hosting = Hosting(place, policy=Policy(latest=0), say=said.append)
    load = opening.load
    for error in (OSError("No space left on device"), RuntimeError("out of memory")):

        def fail(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(opening, "load", fail)
        hosting.refresh()
        hosting.refresh()
        assert [version.state for version in hosting.states()] == ["END"]
    assert len(said) == 2
    monkeypatch.setattr(opening, "load", load)
    hosting.refresh()
    assert hosting.find().number == 1


@pytest.mark.slow
def test_a_new_version_while_it_is_asked(
    pushed: Path, tmp_path: Path, raws: list[dict[str, str]]
) -> None:
    """2,000 requests of eight clients, and not one that fails."""
    place = tmp_path / "photos"
    shutil.copytree(pushed, place / "1")
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", str(place), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        url = next(text for text in process.stderr if "POST " in text).split()[-1]
        body = json.dumps({"instances": raws[:2]}).encode()
        status = url.removesuffix(":predict")

        def ask(number: int) -> str:
            with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
                rows = json.load(answer)["predictions"]
            return "ok" if all(row["valid"] for row in rows) else "wrong"

        def push() -> None:
            for version in (2, 3):
                time.sleep(1)
                shutil.copytree(pushed, place / f".incoming-{version}")
                (place / f".incoming-{version}").rename(place / str(version))

        thread = threading.Thread(target=push)
        thread.start()
        with ThreadPoolExecutor(8) as pool:
            found = Counter(pool.map(ask, range(2000)))
        thread.join()
        for _ in range(200):
            with urllib.request.urlopen(status) as answer:
                states = json.load(answer)["model_version_status"]
            if [state["version"] for state in states] == ["3"]:
                break
            time.sleep(0.1)
        process.terminate()
        assert process.wait(20) == 0
    assert found == {"ok": 2000}
    assert [state["version"] for state in states] == ["3"]
