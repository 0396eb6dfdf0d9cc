"""What it costs a run to be watched: by 20 browsers, of which one never reads, and by nobody.

Turn by turn, with the same training in the same store.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from pipeline import api
from pipeline.records import past_runs
from pipeline.store import Store
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import ROOT

_TURNS, _BROWSERS = 5, 20
_CHANGES = {
    "control.enabled": False,
    "head.features": "last",
    "head.epochs": 300,
    "head.patience": 300,
    "fine_tune.patience": 60,
    "bless.force": "a benchmark",
}


def measure(work: Path, tell: Tell) -> None:
    """Seconds of the stages that train, and the ratio of the medians."""
    api.run("digits", _CHANGES, store=work, log=Nobody())
    took: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * _TURNS):
        watched = turn % 2 == 1
        took[watched].append(_seconds(work, seed=turn // 2 + 1, watched=watched))
    medians = {watched: statistics.median(each) for watched, each in took.items()}
    ratios = [b / a for a, b in zip(took[False], took[True], strict=True)]
    tell(
        {
            "alone, seconds": medians[False],
            "watched, seconds": medians[True],
            "ratio": medians[True] / medians[False],
            "ratio of each turn": [round(ratio, 3) for ratio in ratios],
        }
    )


def _seconds(store: Path, *, seed: int, watched: bool) -> float:
    """Of train_head and fine_tune, both trained anew."""
    changes = {**_CHANGES, "seed": 100 + seed + 50 * watched}
    stop = threading.Event()
    browsers = threading.Thread(target=_watch, args=(store, stop))
    if watched:
        browsers.start()
    result = api.run("digits", changes, store=store, log=Nobody())
    stop.set()
    if watched:
        browsers.join()
    return sum(s.seconds for s in result.steps if s.name in ("train_head", "fine_tune"))


def _watch(store: Path, stop: threading.Event) -> None:
    """A studio, and a process with all browsers, for the newest run."""
    before = {record.run_id for record in past_runs(Store(store).runs)}
    found: set[str] = set()
    while not found and not stop.is_set():
        found = {record.run_id for record in past_runs(Store(store).runs)} - before
        time.sleep(0.05)
    command = [sys.executable, "-m", "tests.pipeline.studio.stores", str(store)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        port = server.stdout.readline().strip()
        words = [sys.executable, "-m", __name__, port, *found, str(_BROWSERS)]
        with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE) as browsers:
            stop.wait()
            browsers.kill()
        server.kill()


def _browse(port: int, run_id: str, count: int) -> None:
    """All of them but one read what they are told."""
    from tests.pipeline.studio.stores import At, Stream

    streams = [Stream(At(port), run_id) for _ in range(count)]
    streams[0].read(until=1)
    for stream in streams[1:]:
        threading.Thread(target=stream.read, kwargs={"seconds": 600.0}).start()


if __name__ == "__main__":
    _browse(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
