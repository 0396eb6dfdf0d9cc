"""Is the advice good? Beside what giants come to, and beside decoding and forward passes alone.

For each set of photographs: the ranks by what was measured on the sample and the accuracy on test
examples of a head that reads the frozen giant; what choosing by advice, by size or at random costs
(regret); and the seconds of the advice beside those of a loop that decodes the same photographs
and passes them through the same networks, compiled without XLA, which is slow here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import keras
import scipy.stats
import tensorflow as tf

from models import backbones
from pipeline import advising, api
from pipeline.console import Log
from pipeline.store import read_manifest
from pipeline.studies import Study
from tests.benchmarks.setting import Nobody, Tell

GIANTS = (
    *("MobileNetV2", "MobileNetV2-0.35", "MobileNet-0.25", "MobileNetV2=none"),
    "ConvNet=pretrain",
)
# What all need that nobody asks the advice for.
_BEFORE = ("ingest", "validate")
_DIGITS = {"pretrain.data.path": "digits", "pretrain.data.classes": ["0", "1", "2", "3", "4"]}
_BATCH = 32


def measure(work: Path, sets: Sequence[Path], tell: Tell) -> None:
    """A row for each set, then the means."""
    rows = []
    for photographs in sets:
        rows.append(_of_a_set(work / photographs.name, photographs))
        tell(rows[-1])
    tell(
        {
            name: mean(row[name] for row in rows)
            for name in ("rank correlation", "regret, advice", "regret, biggest", "regret, random")
        }
    )


def _of_a_set(work: Path, photographs: Path) -> dict[str, Any]:
    quiet = Nobody()
    changes = {"data.path": str(photographs), "control.enabled": "false", **_DIGITS}
    config = api.configured("photos", changes)
    known = [name for name in GIANTS if "pretrain" not in name]
    began = time.monotonic()
    advising.advice(Study.of("photos", config, work / "timed", quiet), known, advising.SAMPLE)
    seconds = time.monotonic() - began - _seconds(work / "timed", _BEFORE)
    files = _files(photographs, advising.SAMPLE)
    alone = min(_alone(files, known) for _ in range(2))

    study = Study.of("photos", config, work / "store", quiet)
    told = advising.advice(study, GIANTS, advising.SAMPLE).told
    reached = {name: _accuracy(work / "store", changes, name, quiet) for name in GIANTS}
    order = [giant["name"] for giant in told["giants"]]
    best = max(reached.values())
    correlation = scipy.stats.spearmanr(
        [-order.index(name) for name in reached], list(reached.values())
    )
    by_size = max(told["giants"], key=lambda giant: giant["weights"])["name"]
    return {
        "set": photographs.name,
        "examples": told["examples"],
        "reached": {name: round(value, 4) for name, value in reached.items()},
        "order": order,
        "finalists": told["finalists"],
        "best is a finalist": any(reached[name] == best for name in told["finalists"]),
        "random is last": order[-1] == "MobileNetV2=none",
        "rank correlation": float(correlation.statistic),
        "regret, advice": best - reached[told["chosen"]],
        "regret, biggest": best - reached[by_size],
        "regret, random": best - mean(reached.values()),
        "seconds": seconds,
        "decoding and forward passes": alone,
        "ratio": seconds / alone,
    }


def _seconds(store: Path, stages: Sequence[str]) -> float:
    """That these took."""
    made = [path for stage in stages for path in (store / stage).glob("*/artifact.json")]
    return float(sum(read_manifest(path.parent)["seconds"] for path in made))


def _files(photographs: Path, most: int) -> list[str]:
    found = [p for p in photographs.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    train = [path for path in found if "train" in path.parts] or found
    return [str(path) for path in sorted(train)[:most]]


def _alone(files: Sequence[str], giants: Sequence[str]) -> float:
    """Seconds of building the networks, decoding, and a pass through each."""
    began = time.monotonic()
    for name in giants:
        backbone, _, weights = name.partition("=")
        network = backbones.build_backbone(backbone, weights=None if weights else "imagenet")
        size = network.input_shape[1]

        def decoded(path: Any, size: int = size) -> Any:
            image = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)
            return tf.image.resize(image, (size, size), antialias=True)

        data = tf.data.Dataset.from_tensor_slices(list(files)).map(decoded, tf.data.AUTOTUNE)
        network.compile(jit_compile=False)
        network.predict(data.batch(_BATCH).prefetch(2), verbose=0)
        keras.backend.clear_session()
    return time.monotonic() - began


def _accuracy(store: Path, changes: dict[str, Any], name: str, log: Log) -> float:
    """On test examples, of a head that reads the frozen giant."""
    backbone, _, weights = name.partition("=")
    model = {"model.backbone": backbone, "model.weights": weights or "pretrained"}
    force = {"bless.force": "a benchmark"}
    result = api.run("photos", {**changes, **model, **force}, store=store, log=log)
    return float(result.metrics["test"]["accuracy"])
