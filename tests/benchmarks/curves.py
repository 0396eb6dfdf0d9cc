"""Learning curves: on a quarter of the examples, asked about all of them, 20 times over.

What it came to is the error that the same heads have which are fitted to as many of all examples:
SST-2 with MiniLM, and scikit-learn's digits with MobileNetV2.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.examples import digits
from components.tasks.more_labels import MoreLabels
from pipeline import api, studies
from pipeline.studies import Study
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import SHARED, minilm

_DRAWS, _SHARE = 20, 0.25


def measure(work: Path, tell: Tell) -> None:
    """A row for each set."""
    with (SHARED / "data" / "sst2" / "train.csv").open(newline="", encoding="utf-8") as file:
        sentences = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    if preset := minilm():
        changes = {"data.modality": "text", "model.backbone": str(preset)}
        tell(_covered(work / "SST-2", "text", sentences, changes))
    tell(_covered(work / "digits", "path", _pictures(work / "pictures"), {"data.root": "/"}))


def _pictures(work: Path) -> list[tuple[str, str]]:
    work.mkdir()
    anything: Any = None
    found = []
    for record in digits.iterate(anything):
        path = work / f"{record.name}.png"
        path.write_bytes(record.raw or b"")
        found.append((str(path), str(record.answers[0])))
    return found


def _covered(
    work: Path, heading: str, rows: Sequence[tuple[str, str]], changes: dict[str, Any]
) -> dict[str, Any]:
    work.mkdir()
    whole = _curve(work, heading, rows, changes)
    truth, most = float(whole.curve.values[-1]), float(whole.curve.sizes[-1])
    bands = []
    for draw in range(_DRAWS):
        some = random.Random(draw).sample(rows, round(_SHARE * len(rows)))
        curve = _curve(work, heading, some, changes).curve
        bands.append(curve.band([min(most, curve.farthest)])[:, 0])
    inside = int(sum(low <= truth <= high for low, _, high in bands))
    return {
        "set": work.name,
        "examples": len(rows),
        "error with all": truth,
        "bands": [[round(float(end), 4) for end in band] for band in bands],
        "inside": inside,
        "of": _DRAWS,
    }


def _curve(
    work: Path, heading: str, rows: Sequence[tuple[str, str]], changes: dict[str, Any]
) -> MoreLabels:
    """Of the accuracy, as `learning-curve` has it; the last examples are for a test that nobody
    asks for."""
    table = work / f"{len(list(work.iterdir()))}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        written = csv.writer(file)
        written.writerow([heading, "label"])
        written.writerows(rows)
    settings = {**changes, "data.path": str(table), "data.test_fraction": 0.02}
    config = api.configured("photos", settings)
    told = studies.learning_curve(Study.of("photos", config, work / "store", Nobody()))
    return next(each for each in told if each.more_is_better)
