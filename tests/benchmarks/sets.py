"""Labelled examples of all kinds that are at hand, a few hundred of each, split anew by a seed."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.default import split_anew
from tests.conftest import SHARED, minilm

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
