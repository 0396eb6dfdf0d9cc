"""A search in one store, its best trial run, beside the same trials as runs in empty stores.

Every fifth trial is run in a store of its own, whole, with nothing given up. What all of them would
take is counted: their stages, as long as they took when they ran, and for each what the measured
ones took more than that on the mean, for exporting, evaluating, and epochs that were given up. In
an empty store every run trains a control to compare with, too; it is told what is saved without.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline import api, tuning
from pipeline.results import RunResult
from pipeline.studies import Study
from tests.benchmarks.setting import Nobody, Tell

_GIANTS = ("MobileNetV2", "MobileNetV2-0.35")
_TRIALS, _EACH = 20, 5
_FORCED = {"bless.force": "a benchmark"}


def measure(work: Path, photographs: Path, tell: Tell) -> None:
    """A row for each trial that is run alone; then what is saved."""
    changes = {"data.path": str(photographs), **_FORCED}
    config = api.configured("photos", changes)
    began = time.monotonic()
    study = Study.of("photos", config, work / "store", Nobody())
    tuned = tuning.tune(study, _GIANTS, _TRIALS)
    searched = time.monotonic() - began
    best = api.run("photos", tuned.settled, store=work / "store", log=Nobody())
    ours, our_control = time.monotonic() - began, _of_control(best)
    more, controls = [], []
    for trial in tuned.trials[_EACH - 1 :: _EACH]:
        row = _alone(work / f"{trial.number}", changes, trial)
        more.append(row["seconds"] - row["control"] - row["counted"])
        controls.append(row["control"])
        tell(row)
    counted = sum(trial.seconds + trial.shared for trial in tuned.trials)
    empty = counted + len(tuned.trials) * mean(more)
    whole = empty + len(tuned.trials) * mean(controls)
    tell(
        {
            "trials": len(tuned.trials),
            "given up": sum(trial.state == "pruned" for trial in tuned.trials),
            "seconds, searched": searched,
            "seconds, with the run of the best": ours,
            "stages of all trials, seconds": counted,
            "in empty stores, seconds": whole,
            "of them without controls": empty,
            "saved among trials": tuned.saved,
            "saved": 1 - ours / whole,
            "saved, without controls": 1 - (ours - our_control) / empty,
        }
    )


def _alone(store: Path, changes: dict[str, Any], trial: tuning.Trial) -> dict[str, Any]:
    began = time.monotonic()
    result = api.run("photos", {**changes, **trial.settings}, store=store, log=Nobody())
    return {
        "trial": trial.number + 1,
        "state": trial.state,
        "settings": trial.settings,
        "counted": trial.seconds + trial.shared,
        "seconds": time.monotonic() - began,
        "control": _of_control(result),
    }


def _of_control(result: RunResult) -> float:
    """Seconds that went into the rivals of a first run."""
    rivals = (s for s in result.steps if s.name.startswith("control.") or s.name == "shortcut")
    return sum(step.seconds for step in rivals)
