"""The studio's server: who is answered, and with what."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models.mistakes import Mistake
from pipeline.events import EVENTS, end_file, line
from pipeline.local import listen
from pipeline.store import Store
from pipeline.studio.app import create
from pipeline.studio.following import Followed, Phase, new_lines, sparkline
from tests.conftest import ROOT, write_classes
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import TOKEN, Stream, beginning, epoch, record, tell

HOST = "127.0.0.1:8787"


def client(store: Path, *, token: bool = True, **options: Any) -> TestClient:
    """Somebody who asks, under the name that the studio is at home under."""
    app = create(Store(store), token=TOKEN, hosts=[HOST, "localhost:8787"], **options)
    headers = {"host": HOST} | ({"authorization": f"Bearer {TOKEN}"} if token else {})
    return TestClient(app, base_url=f"http://{HOST}", headers=headers, follow_redirects=False)


# --- who is answered ---


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 200, ""),
        ({"host": "localhost:8787"}, 200, ""),
        ({"host": "evil.example:8787"}, 403, "Host must be"),
        ({"host": "127.0.0.1:80"}, 403, "Host must be"),
        ({"origin": "http://127.0.0.1:8787"}, 200, ""),
        ({"origin": "http://evil.example"}, 403, "Origin must be"),
        ({"origin": "null"}, 403, "Origin must be"),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403, "Sec-Fetch-Site"),
        ({"authorization": "Bearer guessed"}, 401, "the token must be given"),
        ({"authorization": ""}, 401, "the token must be given"),
    ],
)
def test_only_the_page_itself_is_answered(
    tmp_path: Path, headers: dict[str, str], status: int, said: str
) -> None:
    """No foreign page, no foreign name, nobody without the token."""
    for path in ("/api/runs", "/", "/static/app.js"):
        answer = client(tmp_path).get(path, headers=headers)
        assert answer.status_code == status, path
        assert said in answer.text
        assert "connect-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_token_goes_from_the_address_into_a_cookie(tmp_path: Path) -> None:
    """Where no script and no other site can read it; it never leads to another host."""
    browser = client(tmp_path, token=False)
    assert browser.get("/").status_code == 401
    welcome = browser.get(f"/?token={TOKEN}&a=b")
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/?a=b")
    cookie = welcome.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/api/runs").status_code == 200
    assert client(tmp_path, token=False).get("/?token=guessed").status_code == 401
    away = client(tmp_path).get(f"http://{HOST}//evil.example/?token={TOKEN}")
    assert away.headers["location"].startswith("/evil.example")


def test_read_only_changes_nothing(tmp_path: Path) -> None:
    folder = stores.running(tmp_path)
    tell(folder, beginning())
    asked = {"stage": "train_head"}
    refused = client(tmp_path, read_only=True).post("/api/runs/RUN/end", json=asked)
    assert (refused.status_code, end_file(folder, "train_head").exists()) == (403, False)
    assert client(tmp_path).post("/api/runs/RUN/end", json=asked).status_code == 200
    assert end_file(folder, "train_head").exists()


@pytest.mark.parametrize(
    "run_id", ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a%2fb", "%00", "nothing", "RUN.json"]
)
@pytest.mark.parametrize("rest", ["", "/events", "/report"])
def test_an_id_leads_nowhere_else(tmp_path: Path, run_id: str, rest: str) -> None:
    store = tmp_path / "store"
    stores.running(store)
    (tmp_path / "secret.json").write_text("{}")
    below = "/runs" if rest == "/report" else "/api/runs"
    answer = client(store).get(f"{below}/{run_id}{rest}")
    # What a browser makes of dots is the list, or a page that there is not.
    assert (
        answer.status_code in (404, 405) or answer.json() == client(store).get("/api/runs").json()
    )


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"stage": "push"}', '{"stage": "../../x"}'])
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path: Path, body: str) -> None:
    folder = stores.running(tmp_path)
    tell(folder, beginning())
    answer = client(tmp_path).post("/api/runs/RUN/end", content=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]
    assert not [*tmp_path.rglob("*.end")]


def test_a_report_may_run_what_is_in_it_and_ask_for_nothing(tmp_path: Path) -> None:
    """Not even the studio: it is a page of another origin."""
    page = tmp_path / "report" / "x" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>here</p>")
    outside = tmp_path.parent / "outside.html"
    outside.write_text("no")
    record(tmp_path, "RUN", report=str(page))
    record(tmp_path, "OUT", report=str(outside))
    answer = client(tmp_path).get("/runs/RUN/report")
    assert "here" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy  # As is the default: none.
    assert client(tmp_path).get("/runs/OUT/report").status_code == 404


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


# --- what is answered ---


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


def test_a_line_that_is_cut_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_text('{"a": 1}\n{"b"')
    assert new_lines(path, 0) == ([(9, '{"a": 1}')], 9)
    with path.open("a") as file:
        file.write(": 2}\n")
    assert new_lines(path, 9) == ([(18, '{"b": 2}')], 18)
    assert new_lines(path, 9, most=2) == ([(18, '{"b": 2}')], 18)


def test_lines_of_other_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_text('nonsense\n[]\n{}\n{"event": "epoch"}\n' + epoch(0, 0.5))
    followed = Followed()
    followed.read(path)
    assert next(iter(followed.phases.values())).figures["loss"] == [0.5]


def test_epochs_that_are_told_again_count_once(tmp_path: Path) -> None:
    """Whoever goes on after a stop tells of those before it."""
    phase = Phase("train_head", "train_head")
    for number in (0, 1, 2, 1, 2, 3):
        phase.add_epoch({"epoch": number, "figures": {"loss": number}, "updates": {}})
    phase.add_epoch({"epoch": 4, "figures": {"other": 1.0}, "updates": {"head": None}})
    assert phase.epochs == [0, 1, 2, 3, 4]
    assert phase.figures == {"loss": [0, 1, 2, 3, None], "other": [None] * 4 + [1.0]}


def test_steps_of_a_week_stay_few(tmp_path: Path) -> None:
    phase = Phase("train_head", "train_head")
    for step in range(1, 100_001):
        phase.add_steps({"done": step, "of": 10, "loss": 1.0 if step <= 50_000 else 0.0})
    assert len(phase.steps) == len(phase.losses) <= 4000
    assert phase.steps == sorted(phase.steps)
    assert phase.steps[-1] > 99_900
    assert sum(loss == 1.0 for loss in phase.losses) == len(phase.losses) // 2


def test_a_sparkline_is_of_the_models_own_training() -> None:
    followed = Followed()
    for stage, count in (("control.train_control", 500), ("train_head", 200)):
        for number in range(count):
            followed.count(
                json.loads(epoch(number, 1.0)) | {"stage": stage, "phase": stage, "level": ""}
            )
    assert len(sparkline(followed)) == 60
    assert sparkline(Followed()) == []


# --- events as they happen ---


def test_a_browser_that_comes_again_has_each_event_once(tmp_path: Path) -> None:
    """Wherever it was cut off, and while the run goes on."""
    folder = stores.running(tmp_path)
    count = 400

    def work() -> None:
        for number in range(count):
            tell(folder, [epoch(number, 0.5)])
            time.sleep(0.002)
        record(tmp_path, "RUN")
        tell(folder, [line("info", "run ended", {"outcome": "pushed"})])

    with stores.studio(tmp_path) as address:
        thread = threading.Thread(target=work)
        thread.start()
        stream = Stream(address)
        for until in (1, 2, 50, 51, 200, 399):
            stream.read(until=until)
        stream.read()
        thread.join()
    assert stream.over
    assert [event.get("epoch") for event in stream.events] == [*range(count), None]


def test_a_killed_run_is_over(tmp_path: Path) -> None:
    folder = stores.running(tmp_path)
    ended = subprocess.run([sys.executable, "-c", ""], check=True)
    assert ended.returncode == 0
    tell(folder, [epoch(0, 0.5)])
    changes = {"outcome": "running", "host": os.uname().nodename, "process": (1 << 22) - 1}
    record(tmp_path, "RUN", **changes)
    with stores.studio(tmp_path) as address:
        stream = Stream(address)
        stream.read()
    assert stream.over
    assert len(stream.events) == 1


def test_a_run_that_is_deleted_while_it_is_watched(tmp_path: Path) -> None:
    folder = stores.running(tmp_path)
    tell(folder, [epoch(0, 0.5)])
    with stores.studio(tmp_path) as address:
        stream = Stream(address)
        threading.Timer(0.5, (tmp_path / "runs" / "RUN.json").unlink).start()
        stream.read()
        assert (stream.over, len(stream.events)) == (True, 1)
        again = Stream(address)
        again.read()
        assert (again.over, again.events) == (False, [])  # 404


def test_a_browser_that_reads_nothing_holds_up_nobody(tmp_path: Path) -> None:
    """What it has not read is in the file, and not in memory."""
    folder = stores.running(tmp_path)
    tell(folder, [epoch(number, 0.5) for number in range(20_000)])
    with stores.studio(tmp_path) as address:
        slow = Stream(address)
        slow.read(until=1)
        others = [Stream(address) for _ in range(20)]
        threads = [threading.Thread(target=each.read, args=(1000,)) for each in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(len(each.events) == 1000 for each in others)


# --- the command ---


def test_a_port_in_use_gives_the_next_one() -> None:
    said: list[str] = []
    first = listen(0, said.append)
    second = listen(first.port, said.append)
    try:
        assert second.port > first.port
        assert said == [f"Port {first.port} is in use: this is {second.port}."]
        assert second.url.startswith(f"http://127.0.0.1:{second.port}/?token=")
        assert first.token != second.token
        assert second.listening.getsockname()[0] == "127.0.0.1"
    finally:
        first.listening.close()
        second.listening.close()
    with pytest.raises(Mistake, match="--port must be one that is free"):
        listen(70_000, said.append)


def test_the_command(tmp_path: Path) -> None:
    """It prints where it is, answers there, and ends with Ctrl-C."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "studio", "--port", "0"]
    gone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert gone.returncode == 2
    assert "--store must be the folder of a store" in gone.stderr
    record(tmp_path / ".store", "RUN")
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        url = process.stderr.readline().split()[-1]
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(url.replace("/?token=", "/api/runs?token=")) as answer:
            assert json.load(answer)[0]["run_id"] == "RUN"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url.partition("?")[0])
        process.terminate()
        assert process.wait(20) == 0, process.stderr.read()


@pytest.mark.slow
def test_watching_a_run(tmp_path: Path, tiny_recipe: Path) -> None:
    """The address is told before anything runs, and the page is gone when the run has ended."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(tiny_recipe), "--watch"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        url = next(text for text in process.stderr if "Watch it: " in text).split()[-1]
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        rows: list[Any] = []
        while not rows:
            with browser.open(url.replace("/?token=", "/api/runs?token=")) as answer:
                rows = json.load(answer)
        assert rows[0]["outcome"] == "running"
        rest = process.stderr.read()
        assert process.wait(20) == 0, rest
    assert "It can be looked at again: studio --store .store" in rest
    with pytest.raises(urllib.error.URLError):
        browser.open(url)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_no_event_is_lost_or_doubled(tmp_path: Path) -> None:
    """The server, who tells, or both; a browser goes on from the last event that it has."""
    rng = random.Random(0)
    teller = (
        "import json, sys, time; from pathlib import Path; from pipeline.events import EventFile\n"
        "with EventFile(Path(sys.argv[1])) as file:\n"
        "    for number in range(int(sys.argv[2]), int(sys.argv[2]) + 1000):\n"
        "        file.write(json.dumps({'event': 'epoch', 'epoch': number}) + '\\n')\n"
        "        time.sleep(0.001)\n"
    )
    folder = stores.running(tmp_path)
    path = folder / EVENTS
    stream, told = Stream(stores.At(0)), 0
    for moment in range(30):
        kills = ("server", "teller", "both")[moment % 3]
        command = [sys.executable, "-m", "tests.pipeline.studio.stores", str(tmp_path)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout
            stream.address = stores.At(int(server.stdout.readline()))
            words = [sys.executable, "-c", teller, str(path), str(told)]
            with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as other:
                reading = threading.Thread(target=stream.read_or_lose)
                reading.start()
                time.sleep(rng.uniform(0.05, 0.6))
                if kills in ("teller", "both"):
                    other.kill()
                if kills in ("server", "both"):
                    server.kill()
                other.wait()
                time.sleep(0.1)
            server.kill()
            reading.join()
        told = len(path.read_text().splitlines())
    with stores.studio(tmp_path) as address:
        stream.address = address
        stream.read(until=told)
    assert told > 1000
    assert [event["epoch"] for event in stream.events] == list(range(told))
