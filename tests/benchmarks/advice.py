"""Is the advice good? Beside what giants come to, and beside decoding and forward passes alone.

For each set of photographs: the ranks by what was measured on the sample and the accuracy on test
examples of a head that reads the frozen giant; what choosing by advice, by size or at random costs
(regret); and the seconds of the advice beside those of a loop that decodes the same photographs
and passes them through the same networks, compiled without XLA, which is slow here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import keras
import scipy.stats
import tensorflow as tf

from components.served.agreement import Disagreement
from models import backbones
from pipeline import advising, api
from pipeline.store import read_manifest
from pipeline.studies import Study
from tests.benchmarks.sets import Set, others, photographs
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import SHARED, minilm

# The last two know nothing, or little, of photographs.
PHOTOGRAPHED = (
    *("MobileNetV2", "MobileNetV2-0.35", "MobileNet-0.25", "MobileNetV2=none"),
    "ConvNet=pretrain",
)
HEARD = ("YAMNet", "YAMNet=none", "MobileNetV2", "MobileNetV2-0.35")
# What all need that nobody asks the advice for.
_BEFORE = ("ingest", "validate")
_DIGITS = {"pretrain.data.path": "digits", "pretrain.data.classes": ["0", "1", "2", "3", "4"]}
_BATCH, _TURNS = 32, 3


def measure(work: Path, sets: Sequence[Path], tell: Tell) -> None:
    """What advice costs, a row for each set of photographs, while the process is as new as that of
    a command; then what it is worth, a row for each, and the means."""
    for path in sets:
        tell(_price(work / f"{path.name}, timed", path))
    rows = []
    for path in sets:
        rows.append(ranked(work / path.name, photographs(path), PHOTOGRAPHED))
        tell(rows[-1])
    tell(means(rows))


def backtest(work: Path, tell: Tell) -> None:
    """A row for each set that is at hand everywhere, of all kinds; then the means."""
    rows = []
    for row in _backtested(work):
        rows.append(row)
        tell(row)
    tell(means(rows))


def _backtested(work: Path) -> Iterator[dict[str, Any]]:
    some: dict[str, Any] = {"data.path": "digits", "data.classes": ["5", "6", "7", "8", "9"]}
    some |= {"data.labels_per_class": 40, "data.test_fraction": 0.4}
    yield ranked(work / "digits", Set("digits", "photos", lambda *_: some), PHOTOGRAPHED)
    path = SHARED / "data" / "hymenoptera"
    yield ranked(work / path.name, photographs(path), PHOTOGRAPHED)
    for each in others(work):
        preset = str(minilm())
        giants = HEARD if each.recipe == "sounds" else (preset, f"{preset}=none")
        yield ranked(work / each.name, each, giants)


def ranked(work: Path, each: Set, giants: Sequence[str]) -> dict[str, Any]:
    """What advice says of giants, beside what each comes to on test examples."""
    changes = {**each.changes(work / "examples", 0), "control.enabled": "false"}
    if each.recipe == "photos":
        changes |= _DIGITS
    config = api.configured(each.recipe, changes)
    study = Study.of(each.recipe, config, work / "store", Nobody())
    told = advising.advice(study, giants, advising.SAMPLE).told
    tried = {name: _accuracy(work / "store", each.recipe, changes, name) for name in giants}
    reached = {name: accuracy for name, accuracy in tried.items() if accuracy is not None}
    order = [giant["name"] for giant in told["giants"]]
    best = max(reached.values())
    correlation = scipy.stats.spearmanr(
        [-order.index(name) for name in reached], list(reached.values())
    )
    # Whoever takes the biggest takes one that has been trained.
    by_size = max(told["giants"], key=lambda g: ("=none" not in g["name"], g["weights"]))["name"]
    return {
        "set": each.name,
        "examples": told["examples"],
        "reached": {_short(name): round(value, 4) for name, value in reached.items()},
        "not served": [_short(name) for name in tried if name not in reached],
        "order": [_short(name) for name in order],
        "finalists": [_short(name) for name in told["finalists"]],
        "chosen": _short(told["chosen"]),
        "best is a finalist": any(reached[name] == best for name in told["finalists"]),
        "random is last": order[-1].endswith("=none"),
        "rank correlation": float(correlation.statistic),
        "regret, advice": best - reached[told["chosen"]],
        "regret, biggest": best - reached[by_size],
        "regret, random": best - mean(reached.values()),
    }


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over all sets."""
    names = ("rank correlation", "regret, advice", "regret, biggest", "regret, random")
    return {"pairs": sum(len(row["reached"]) for row in rows)} | {
        name: mean(row[name] for row in rows) for name in names
    }


def _short(name: str) -> str:
    return "MiniLM" + name.partition("model")[2] if name.startswith("/") else name


def _price(work: Path, path: Path) -> dict[str, Any]:
    """Seconds of the advice, and of decoding and passes alone: the least of three each, in turn."""
    known = [name for name in PHOTOGRAPHED if "pretrain" not in name]
    config = api.configured("photos", {"data.path": str(path), "control.enabled": "false"})
    files = _files(path, advising.SAMPLE)
    seconds, alone = [], []
    for turn in range(_TURNS):
        store = work / str(turn)
        began = time.monotonic()
        advising.advice(Study.of("photos", config, store, Nobody()), known, advising.SAMPLE)
        seconds.append(time.monotonic() - began - _seconds(store, _BEFORE))
        alone.append(_alone(files, known))
    return {
        "set": path.name,
        "photographs": len(files),
        "seconds": min(seconds),
        "decoding and forward passes": min(alone),
        "ratio": min(seconds) / min(alone),
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


def _accuracy(store: Path, recipe: str, changes: Mapping[str, Any], name: str) -> float | None:
    """On test examples, of a head that reads the frozen giant; None where it would not be served,
    as random weights magnify rounding."""
    backbone, _, weights = name.partition("=")
    model = {"model.backbone": backbone, "model.weights": weights or "pretrained"}
    ways = {"bless.force": "a benchmark", "fine_tune.unfreeze": 0}
    try:
        result = api.run(recipe, {**changes, **model, **ways}, store=store, log=Nobody())
    except Disagreement:
        return None
    return float(result.metrics["test"]["accuracy"])
