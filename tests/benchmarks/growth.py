"""A table of more and more short texts, with a tiny encoder: seconds and memory of whole runs."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.presets import BAD, GOOD, OTHER, write_preset

# A process starts with the peak of the one that it is forked from: this one is small.
_WATCH = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
# So many rows come before the third run of each size.
MORE = 1000
_RECIPE = """
[data]
modality = "text"
[model]
backbone = "{preset}"
[sentences]
sequence_length = 16
[fine_tune]
unfreeze = 0
"""


def measure(work: Path, sizes: Sequence[int], tell: Callable[[dict[str, Any]], None]) -> None:
    """For each size: a first run, the same again, and one with `MORE` rows more."""
    recipe = work / "growth.toml"
    recipe.write_text(_RECIPE.format(preset=write_preset("BERT", work / "bert")))
    for size in sizes:
        table = work / f"{size}.csv"
        write_rows(table, size)
        for run in ("first", "the same again", f"{MORE} more"):
            if run not in ("first", "the same again"):
                write_rows(table, size + MORE)
            tell({"rows": size, "run": run, **_run(recipe, table, work / f"store{size}")})


def write_rows(path: Path, count: int) -> None:
    """Texts of 6 to 12 words, with more of the good or of the bad ones; the first are the same."""
    draw = random.Random(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for _ in range(count):
            label = draw.randrange(2)
            words = draw.choices((GOOD if label else BAD) + OTHER, k=draw.randint(6, 12))
            rows.writerow([" ".join(words), ("bad", "good")[label]])


def _run(recipe: Path, table: Path, store: Path) -> dict[str, Any]:
    """Seconds of each stage that ran, and of the command; its peak resident memory in MiB."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(recipe), str(table)]
    command += ["--store", str(store), "--json"]
    started = time.monotonic()
    watch = [sys.executable, "-c", _WATCH, *command]
    done = subprocess.run(watch, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{command} must end with 0 or 3, got {done.returncode}: {done.stderr}")
    stages = json.loads(done.stdout)["stages"]
    return {
        **{s["name"]: s["seconds"] for s in stages if s["status"] == "ran" and s["seconds"] > 0.5},
        "command": seconds,
        "MiB": int(done.stderr.splitlines()[-1]) / 1024,
    }
