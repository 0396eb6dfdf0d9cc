"""`strategy = "auto"` against each rung of its ladder taken alone, by accuracy and by seconds.

What is fixed has the same features, the same examples to validate with, and the same rates; it
gives way to the head alone only where it made it worse. Seconds are those of the stages up to the
trained model, as they took when they ran, wherever a store has shared them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline import api
from pipeline.results import RunResult
from pipeline.store import read_manifest
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import SHARED, minilm

WAYS: Mapping[str, Mapping[str, Any]] = {
    "auto": {"strategy": "auto"},
    "class means": {"head.kind": "prototype"},
    "last layer": {"head.features": "last"},
    "taps": {"head.features": "taps"},
    **{
        name: {"head.features": "taps", "fine_tune.unfreeze": unfreeze}
        for name, unfreeze in (("25 %", "25%"), ("50 %", "50%"), ("all", "all"))
    },
}
# Of stages that only say what a model is worth.
_AFTER = ("export", "evaluate", "bless", "push", "report", "suspect", "shortcut")
_ALWAYS = "all"


@dataclass(frozen=True)
class Set:
    """Labelled examples, and what a run of them is given beside the way."""

    name: str
    recipe: str
    changes: Mapping[str, Any]


def photographs(sets: Sequence[Path]) -> list[Set]:
    """Folders of photographs."""
    return [Set(path.name, "photos", {"data.path": str(path)}) for path in sets]


def others(work: Path) -> Iterator[Set]:
    """Spoken digits, and sentences where the package with MiniLM is there: some of each."""
    sounds = {"data.path": str(spoken_digits(work)), "data.root": "/", "data.labels_per_class": 40}
    yield Set("spoken digits", "sounds", sounds)
    if preset := minilm():
        recipe = work / "sentences.toml"
        recipe.write_text(
            "[data]\nmodality = 'text'\n[sentences]\nsequence_length = 64\n"
            "[fine_tune]\nepochs = 3\nlearning_rate = 5e-5\n"
        )
        sentences = {
            "data.path": str(SHARED / "data" / "sst2"),
            "data.labels_per_class": 200,
            "model.backbone": str(preset),
        }
        yield Set("SST-2", str(recipe), sentences)


def spoken_digits(work: Path) -> Path:
    """A table of the recordings."""
    table = work / "spoken_digits.csv"
    files = sorted((SHARED / "data" / "spoken_digits").glob("*.wav"))
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "speaker"])
        rows.writerows([str(p), *p.stem.split("_")[:2]] for p in files)
    return table


def measure(work: Path, sets: Sequence[Path], seeds: int, tell: Tell) -> None:
    """A row for each set and seed; then the means."""
    rows = []
    for each in [*others(work), *photographs(sets)]:
        for seed in range(seeds):
            rows.append(_row(work / f"{each.name}-{seed}", each, seed))
            tell(rows[-1])
    reached = {way: mean(row["accuracy"][way] for row in rows) for way in WAYS}
    fixed = {way: value for way, value in reached.items() if way != "auto"}
    took = {way: mean(row["seconds"][way] for row in rows) for way in WAYS}
    tell(
        {
            "accuracy": _rounded(reached),
            "auto above the best that is fixed, points": 100
            * (reached["auto"] - max(fixed.values())),
            "seconds": _rounded(took),
            "auto, of always fine-tuning": took["auto"] / took[_ALWAYS],
        }
    )


def _row(store: Path, each: Set, seed: int) -> dict[str, Any]:
    accuracy, seconds, taken = {}, {}, ""
    for way, settings in WAYS.items():
        changes = {**each.changes, **settings, "seed": seed, "control.enabled": "false"}
        changes["bless.force"] = "a benchmark"
        result = api.run(each.recipe, changes, store=store, log=Nobody())
        accuracy[way] = float(result.metrics["test"]["accuracy"])
        seconds[way] = sum(_took(result))
        if way == "auto":
            taken = next(s.stats["taken"] for s in result.steps if s.name == "climb")
    return {
        "set": each.name,
        "seed": seed,
        "taken": taken,
        "accuracy": _rounded(accuracy),
        "seconds": _rounded(seconds),
    }


def _took(result: RunResult) -> Iterator[float]:
    for step in result.steps:
        if step.name.split(".")[-1] not in _AFTER:
            yield float(read_manifest(Path(step.artifact))["seconds"])


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
