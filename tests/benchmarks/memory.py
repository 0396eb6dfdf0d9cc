"""Peak memory of our stages on the photographs in DIRECTORY/photos: a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.benchmarks.setting import Clock, Task


def peak() -> float:
    """MiB. The kernel's own figure for this program; getrusage gives the parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    place = Path(sys.argv[1])
    task = Task.of(place, place / "photos")
    ingested = peak()
    Path("/proc/self/clear_refs").write_text("5")  # Forget the peak.
    clock = Clock(place / "stages")
    clock.train(clock.extract(task, 0), 0)
    sys.stdout.write("PEAK" + json.dumps({"ingest": ingested, "extract to fine_tune": peak()}))
