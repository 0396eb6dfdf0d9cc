"""Retraining with 5 % more photographs each time: what each stage costs, cold and warm start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# Of the photographs to train on, how many the first run has; and how many come with each later one.
FIRST, MORE, TIMES = 0.75, 0.05, 5
# (recipe, what the weights start from); a head that is fitted exactly has no start.
ROWS = (("photos", "none"), ("photos-fine-tuned", "none"), ("photos-fine-tuned", "blessed"))


def measure(work: Path, photographs: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    """Tell a row a run: seconds of each stage that ran, epochs of fine-tuning, accuracy."""
    for recipe, start in ROWS:
        own = work / recipe / start
        data = own / "photos"
        shutil.copytree(photographs / "test", data / "test")
        for run in range(TIMES + 1):
            new = _grow(photographs / "train", data / "train", FIRST + run * MORE)
            result = _run(own, data, recipe, start)
            stages = {s["name"]: s for s in result["stages"]}
            tell(
                {
                    "recipe": recipe,
                    "start": "hub" if start == "none" else "warm",
                    "run": run,
                    "new": new,
                    **{n: s["seconds"] for n, s in stages.items() if s["status"] == "ran"},
                    "total": sum(s["seconds"] for s in result["stages"]),
                    "computed": stages["extract"]["stats"]["computed"],
                    "epochs": stages["fine_tune"]["stats"].get("epochs"),
                    "accuracy": result["metrics"]["test"]["accuracy"],
                }
            )
        again = _run(own, data, recipe, start)
        took = sum(s["seconds"] for s in again["stages"])
        tell({"recipe": recipe, "start": start, "run": "the same again", "total": took})


def _grow(source: Path, target: Path, share: float) -> int:
    """Copy the first `share` of each class; returns how many were not there before."""
    new = 0
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(path for path in label.iterdir() if path.suffix.lower() == ".jpg")
        (target / label.name).mkdir(parents=True, exist_ok=True)
        for path in files[: round(share * len(files))]:
            if not (target / label.name / path.name).exists():
                shutil.copy2(path, target / label.name)
                new += 1
    return new


def _run(work: Path, data: Path, recipe: str, start: str) -> Any:
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", recipe, "--json"]
    command += ["--data.path", str(data), "--store", str(work / "store")]
    command += [
        "--model.warm-start",
        start,
        "--bless.max-drop",
        "0.05",
        "--control.enabled",
        "false",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)
