"""Peak memory of our stages on the photographs in DIRECTORY/photos: a process of its own."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from tests.benchmarks.setting import Clock, Task

if __name__ == "__main__":
    place = Path(sys.argv[1])
    task = Task.of(place, place / "photos")
    clock = Clock(place / "stages")
    clock.train(clock.extract(task, 0), 0)
    sys.stdout.write(f"PEAK{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}")
