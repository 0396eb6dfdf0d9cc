"""`strategy = "auto"` against each rung of its ladder taken alone, by accuracy and by seconds.

What is fixed has the same features, the same examples to validate with, and the same rates; it
gives way to the head alone only where it made it worse. Seconds are those of the stages up to the
trained model, as they took when they ran, wherever a store has shared them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline import api
from pipeline.results import RunResult
from pipeline.store import read_manifest
from tests.benchmarks import sets as sets_of
from tests.benchmarks.setting import Nobody, Tell

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


def measure(work: Path, sets: Sequence[Path], seeds: int, tell: Tell) -> None:
    """A row for each set and seed; then the means."""
    rows = []
    every = [*sets_of.others(work), *map(sets_of.photographs, sets)]
    for seed in range(seeds):
        for each in every:
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


def _row(store: Path, each: sets_of.Set, seed: int) -> dict[str, Any]:
    accuracy, seconds, taken = {}, {}, ""
    given = each.changes(store / "examples", seed)
    for way, settings in WAYS.items():
        changes = {**given, **settings, "seed": seed, "control.enabled": "false"}
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
