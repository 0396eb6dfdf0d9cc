"""What it costs a run to be watched: by a studio with 20 browsers, of which one never reads.

In one run: they are stopped and let go on again, in turns of some seconds, while it trains; so that
what else the machine does is in both. That noise is ten times what is looked for, so that it takes
many turns; and what they take of a processor is told as well.
"""

from __future__ import annotations

import itertools
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from components.files import read_jsonl
from pipeline import api, local
from pipeline.records import past_runs
from pipeline.store import Store
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import ROOT

_BROWSERS, _SECONDS = 20, 2.0
# Until they have started.
_BEGIN_SECONDS = 15.0
# After a turn has begun, what was not told meanwhile is told.
_SETTLED = 0.25
# Epochs that a turn must have.
_LEAST = 8
_CHANGES = {
    "control.enabled": False,
    "fine_tune.epochs": 9000,
    "fine_tune.patience": 9000,
    "bless.force": "a benchmark",
}
Turn = tuple[float, float, bool]


def measure(work: Path, tell: Tell) -> None:
    """The ratio of the time of an epoch, watched and not, over neighbouring turns."""
    turns: list[Turn] = []
    taken: dict[str, float] = {}
    stop = threading.Event()
    watching = threading.Thread(target=_watch, args=(work, turns, taken, stop))
    watching.start()
    result = api.run("digits", _CHANGES, store=work, log=Nobody())
    stop.set()
    watching.join()
    events = read_jsonl(Store(work).runs / result.run_id / "events.jsonl")
    told = [each for each in events if each["event"] == "epoch" and each["stage"] == "fine_tune"]
    at = [datetime.fromisoformat(each["time"]).timestamp() for each in told]
    pace = [(watched, _pace(at, begin, end)) for begin, end, watched in turns]
    known = [(watched, each) for watched, each in pace if each]
    ratios = [
        (one if watched else other) / (other if watched else one)
        for (watched, one), (_, other) in itertools.pairwise(known)
    ]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    watched_for = sum(end - begin for begin, end, watched in turns if watched)
    tell(
        {
            "epochs": len(at),
            "turns": len(known),
            "ratio": round(statistics.median(ratios), 4),
            "mean": round(statistics.mean(ratios), 4),
            "standard error": round(error, 4),
            **{f"{who}, of a core": round(cpu / watched_for, 4) for who, cpu in taken.items()},
        }
    )


def _pace(at: list[float], begin: float, end: float) -> float:
    """Seconds of an epoch within a turn; 0 where there are too few."""
    inside = [moment for moment in at if begin + _SETTLED <= moment <= end]
    return (inside[-1] - inside[0]) / (len(inside) - 1) if len(inside) > _LEAST else 0.0


def _watch(store: Path, turns: list[Turn], taken: dict[str, float], stop: threading.Event) -> None:
    """A studio and all browsers, for the newest run, in turns."""
    while not past_runs(Store(store).runs):
        time.sleep(0.05)
    (record,) = past_runs(Store(store).runs)
    server, url = local.apart(store, 0, lambda said: None)
    host, token = url.removeprefix("http://").split("/?token=")
    words = [sys.executable, "-m", __name__, host, token, record.run_id]
    with subprocess.Popen(words, cwd=ROOT) as browsers:
        stop.wait(_BEGIN_SECONDS)
        processes = {"studio": server.pid, "browsers": browsers.pid}
        before = {who: _cpu(pid) for who, pid in processes.items()}
        watched = True
        while not stop.is_set():
            begin = time.time()
            stop.wait(_SECONDS)
            turns.append((begin, time.time(), watched))
            watched = not watched
            for pid in processes.values():
                os.kill(pid, signal.SIGCONT if watched else signal.SIGSTOP)
        taken |= {who: _cpu(pid) - before[who] for who, pid in processes.items()}
        for pid in processes.values():
            os.kill(pid, signal.SIGCONT)
        browsers.kill()
    local.end(server)


def _cpu(pid: int) -> float:
    """Seconds of a processor that a process has taken."""
    taken = psutil.Process(pid).cpu_times()
    return float(taken.user + taken.system)


def _browse(host: str, token: str, run_id: str) -> None:
    """All of them but one read what they are told."""
    name, port = host.split(":")
    request = f"GET /api/runs/{run_id}/events HTTP/1.1\r\nHost: {host}\r\n"
    request += f"Authorization: Bearer {token}\r\n\r\n"
    chosen = selectors.DefaultSelector()
    kept: list[Any] = []
    for number in range(_BROWSERS):
        connected = socket.create_connection((name, int(port)), 60)
        connected.sendall(request.encode())
        kept.append(connected)
        if number:
            chosen.register(connected, selectors.EVENT_READ)
    while chosen.get_map():
        for key, _ in chosen.select():
            reading: Any = key.fileobj
            if not reading.recv(1 << 16):
                chosen.unregister(reading)


if __name__ == "__main__":
    _browse(*sys.argv[1:])
