"""Few examples: shots, a class that is added, two examples of one kind; with the recipes' giants.

Shots are what a report tells. Of scikit-learn's digits nine are known and the tenth is added. Pairs
are of digits of which the giant, pretrained on others, has seen none: the threshold is found with
examples to validate with, and asked about test examples; the ROC is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn import metrics

from components.examples import digits
from components.files import read_json, read_jsonl
from components.served.manifest import MANIFEST
from components.served.opening import EMBED, EMBEDDING, open_signatures
from models import verification
from pipeline import api, classes
from pipeline.results import RunResult
from tests.benchmarks.setting import Nobody, Tell

_MEANS = {"head.kind": "prototype", "fine_tune.unfreeze": 0, "control.enabled": "false"}
_FORCED = {"bless.force": "a benchmark"}
_KNOWN = [str(digit) for digit in range(9)]


def measure(work: Path, photographs: Path, tell: Tell) -> None:
    """Shots of both sets, the tenth digit, and pairs."""
    for name, changes in (
        (photographs.name, {"data.path": str(photographs)}),
        ("digits", {"data.path": "digits"}),
    ):
        for row in _shots(work / name, changes):
            tell({"shots of": name, **row})
    tell(_tenth(work / "tenth"))
    tell(_pairs(work / "pairs"))


def _shots(store: Path, changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    result = api.run("photos", {**changes, **_MEANS, **_FORCED}, store=store, log=Nobody())
    head = next(step.artifact for step in result.steps if step.name == "train_head")
    told = read_json(Path(head) / "shots.json")
    yield from told["rows"]
    yield {"a linear head is better from": told["turns"], "draws": told["draws"]}


def _tenth(store: Path) -> dict[str, Any]:
    """Nine digits are known, and 60 pictures of the tenth come."""
    store.mkdir(parents=True)
    changes = {"data.path": "digits", "data.classes": _KNOWN, **_MEANS, **_FORCED}
    first = api.run("photos", changes, store=store, log=Nobody())
    files = []
    nines = [raw for raw, label in _pictures().values() if label == "9"]
    for number, picture in enumerate(nines[:60]):
        files.append(store / f"nine_{number}.png")
        files[-1].write_bytes(picture)
    began = time.monotonic()
    quiet: Any = Nobody()
    changed = classes.change(Path("photos"), "9", files, store, quiet, removes=False)
    kept = changed.kept
    return {
        "a class more": "9",
        "seconds": time.monotonic() - began,
        "seconds of the run before": first.seconds,
        "accuracy before": first.metrics["test"]["accuracy"],
        "old classes": [kept.other, kept.value, kept.count],
        "points lost": -100 * kept.change,
        "interval, points": [round(-100 * end, 2) for end in (kept.high, kept.low)],
        "blessed": changed.blessing.blessed,
        "reasons": changed.blessing.reasons,
    }


def _pictures() -> dict[str, tuple[bytes, str]]:
    """The name of each digit → its file, and which it is."""
    anything: Any = None
    return {r.name: (r.raw or b"", str(r.answers[0])) for r in digits.iterate(anything)}


def _pairs(store: Path) -> dict[str, Any]:
    """Verification of digits that the giant has not been trained on."""
    rate = 0.05
    changes = {**_MEANS, **_FORCED, "data.labels_per_class": 80, "serve.false_accepts": rate}
    result = api.run("digits", changes, store=store, log=Nobody())
    assert result.pushed
    known = read_json(result.pushed / MANIFEST)["match"]
    vectors, labels = _embedded(result)
    cosines, alike, _, _ = verification.pairs(vectors, labels)
    false, true, _ = metrics.roc_curve(alike, cosines)
    accepted = verification.false_accepts(vectors, labels, known["threshold"])
    return {
        "pairs": len(alike),
        "AUROC": float(metrics.roc_auc_score(alike, cosines)),
        "ROC, true accepts at 0.01, 0.05, 0.1, 0.2": [
            round(float(np.interp(at, false, true)), 3) for at in (0.01, 0.05, 0.1, 0.2)
        ],
        "equal error": verification.equal_error(cosines, alike),
        "equal error, stated": known["equal_error"],
        "false accepts": accepted,
        "stated": [round(known["low"], 4), known["rate"], round(known["high"], 4)],
        "within": known["low"] <= accepted <= known["high"],
    }


def _embedded(result: RunResult) -> tuple[np.ndarray, np.ndarray]:
    """(examples, features) of test examples, by the signature that is served, and their labels."""
    examples = next(step.artifact for step in result.steps if step.name == "ingest")
    rows = [row for row in read_jsonl(Path(examples) / "index.jsonl") if row["split"] == "test"]
    known = _pictures()
    raws, labels = zip(*(known[row["name"]] for row in rows), strict=True)
    assert result.pushed
    ask = open_signatures(result.pushed, "image")[EMBED]
    vectors = ask(raw=tf.constant(list(raws)))[EMBEDDING].numpy()
    return vectors, np.array([int(label) for label in labels])
