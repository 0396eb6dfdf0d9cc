"""`strategy = "auto"` against each rung of its ladder taken alone, by accuracy and by seconds.

What is fixed has the same features, the same examples to validate with, and the same rates; it
gives way to the head alone only where it made it worse. Seconds are those of the stages up to the
trained model, as they took when they ran, wherever a store has shared them.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline import api
from pipeline.results import RunResult
from pipeline.store import read_manifest
from tests.benchmarks.default import split_anew
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


Split = Callable[[Path, int], Mapping[str, Any]]


@dataclass(frozen=True)
class Set:
    """Labelled examples: the recipe, and (a folder to write in, a seed) → changes to it."""

    name: str
    recipe: str
    changes: Split


def photographs(path: Path) -> Set:
    """A folder of photographs, split by the seed: 7 of 10 to train and validate with."""

    def split(work: Path, seed: int) -> Mapping[str, Any]:
        return {"data.path": str(split_anew(path, work / "photographs", seed))}

    return Set(path.name, "photos", split)


def others(work: Path) -> Iterator[Set]:
    """Spoken digits, and sentences where the package with MiniLM is there: some of each."""

    def digits(own: Path, seed: int) -> Mapping[str, Any]:
        rows = [(str(path), digit) for path, digit, _ in spoken_digits()]
        return {"data.path": str(_table(own, rows, "path", 40, 40, seed)), "data.root": "/"}

    yield Set("spoken digits", "sounds", digits)
    preset = minilm()
    if preset is None:
        return
    recipe = work / "sentences.toml"
    recipe.write_text(
        "[data]\nmodality = 'text'\n[sentences]\nsequence_length = 64\n"
        "[fine_tune]\nepochs = 3\nlearning_rate = 5e-5\n"
    )

    def sentences(own: Path, seed: int) -> Mapping[str, Any]:
        with (SHARED / "data" / "sst2" / "train.csv").open(newline="", encoding="utf-8") as file:
            rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
        table = _table(own, rows, "text", 200, 300, seed)
        return {"data.path": str(table), "model.backbone": str(preset)}

    yield Set("SST-2", str(recipe), sentences)


def spoken_digits() -> Iterator[tuple[Path, str, str]]:
    """Each recording, what is said, and by whom."""
    for path in sorted((SHARED / "data" / "spoken_digits").glob("*.wav")):
        digit, speaker, _ = path.stem.split("_")
        yield path, digit, speaker


def _table(
    work: Path, rows: Sequence[tuple[str, str]], heading: str, train: int, test: int, seed: int
) -> Path:
    """So many of each class to train and validate with, and to test with."""
    rows = random.Random(seed).sample(rows, len(rows))
    seen: Counter[str] = Counter()
    work.mkdir(parents=True, exist_ok=True)
    table = work / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        written = csv.writer(file)
        written.writerow([heading, "label", "split"])
        for what, label in rows:
            seen[label] += 1
            if seen[label] <= train + test:
                written.writerow([what, label, "train" if seen[label] <= train else "test"])
    return table


def measure(work: Path, sets: Sequence[Path], seeds: int, tell: Tell) -> None:
    """A row for each set and seed; then the means."""
    rows = []
    every = [*others(work), *map(photographs, sets)]
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


def _row(store: Path, each: Set, seed: int) -> dict[str, Any]:
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
