"""Events as a browser is told them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.events import EVENTS, line
from tests.conftest import ROOT
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import Stream, epoch, record, tell


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
