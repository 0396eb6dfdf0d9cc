"""What retraining in one process, night after night, leaves behind: nothing that adds up.

    python -m tests.chaos.retraining --runs 100

Each run trains anew, by another seed, from what is stored; some are refused, some cannot be read.
A row each: threads, open files, child processes, resident memory in MiB, seconds.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import psutil

from models.mistakes import Mistake
from pipeline import api
from tests.conftest import write_classes


@dataclass(frozen=True)
class Held:
    """By this process, after a run."""

    threads: int
    files: int
    processes: int
    resident: float
    """MiB."""
    seconds: float


def retrain(place: Path, runs: int) -> Iterator[Held]:
    """What is held after each run."""
    data = write_classes(place / "photos", 20)
    me = psutil.Process()
    for seed in range(runs):
        begun = time.monotonic()
        changes = {
            "data.path": str(data),
            "seed": seed,
            "model": {"backbone": "ConvNet", "weights": "none"},
            "photos.input_size": 16,
            "head": {"features": "last", "epochs": 3},
            "fine_tune": {"unfreeze": 1, "epochs": 1},
            "augment.views": 1,
            "control.enabled": False,
            "bless.beat_trivial": False,
            "push": {"check": False, "keep": 2, "grace": "1m"},
        }
        api.run("photos", changes, store=place / "store", log="json")
        with suppress(Mistake):
            api.run("photos", {**changes, "data.path": "nowhere"}, store=place / "store")
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        yield Held(
            len(os.listdir("/proc/self/task")),
            len(os.listdir("/proc/self/fd")),
            len(me.children(recursive=True)),
            me.memory_info().rss / 2**20,
            time.monotonic() - begun,
        )


def growth(resident: list[float]) -> float:
    """MiB a run, by a line through the second half, when what is loaded once is there."""
    half = resident[len(resident) // 2 :]
    return float(np.polyfit(np.arange(len(half)), half, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.retraining", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    asked = parser.parse_args()
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  What each run tells.
    held = []
    with tempfile.TemporaryDirectory() as directory:
        for row in retrain(Path(directory), asked.runs):
            held.append(row)
            threads, files, processes, resident, seconds = astuple(row)
            print(
                f"{len(held):>4} {threads:>4} {files:>4} {processes:>3} {resident:>8.1f} "
                f"{seconds:>6.1f}",
                flush=True,
            )
    print(f"growth, MiB a run: {growth([row.resident for row in held]):.2f}")


if __name__ == "__main__":
    main()
