"""The studio as a command, and beside a run."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from models.mistakes import Mistake
from pipeline.local import listen
from tests.conftest import ROOT
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import TOKEN, record


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


def test_an_answer_waits_for_no_acknowledgement(tmp_path: Path) -> None:
    """40 ms, where the head and the body of an answer are sent with Nagle's algorithm."""
    times = []
    with stores.studio(tmp_path) as address:
        connection = http.client.HTTPConnection(address.hosts[0])
        for _ in range(30):
            started = time.monotonic()
            connection.request("GET", "/api/about", headers={"Authorization": f"Bearer {TOKEN}"})
            assert b"store" in connection.getresponse().read()
            times.append(time.monotonic() - started)
        connection.close()
    assert statistics.median(times) < 0.03, times


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
