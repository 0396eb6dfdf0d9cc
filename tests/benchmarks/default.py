"""The default recipe: against the Keras guide, against its own floor, and as it is served.

The guide is given its photographs decoded and in memory, its network built, and no augmentation.
Ours is timed from the stored photographs on, its network built anew; the median of three, each a
few seconds long. Every seed has splits of its own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.artifacts import Examples, TrainedModel
from components.examples import dataset
from components.export import ExportConfig, export
from components.extract import ExtractConfig, extract
from components.frozen import networks
from components.frozen.networks import open_backbone
from components.modalities.table import open_reader
from components.train_head import train_head
from components.training.head_config import HeadConfig
from components.training.heads import open_whole
from tests.benchmarks import guide
from tests.benchmarks.setting import BATCH, Clock, Task, Tell
from tests.conftest import ROOT
from tests.helpers import PLAIN
from tests.helpers import views as views_of


def measure(work: Path, sets: Sequence[Path], seeds: int, tell: Tell) -> None:
    """All comparisons, on each set of photographs; then their means."""
    rows: list[dict[str, Any]] = []
    for photographs in sets:
        for seed in range(seeds):
            own = split_anew(photographs, work / "splits" / f"{photographs.name}-{seed}", seed)
            task = Task.of(work / own.name, own)
            data = {split: task.decoded(split) for split in task.examples.counts}
            seconds, accuracy = guide.guide(task, data, seed, augment=False)
            ours, found, model = _default(task, data, seed)
            rows.append(
                {
                    "set": photographs.name,
                    "seed": seed,
                    "guide": seconds,
                    "ours": ours,
                    "times faster": seconds / ours,
                    "guide's accuracy": accuracy,
                    "our accuracy": found,
                    "features": model.stats["features"],
                }
            )
            tell(rows[-1])
        # Compiled by XLA, the default of `compile()`: once, it takes long.
        epochs = guide.step_seconds(task, data, jit_compile=True)
        without = guide.step_seconds(task, data, jit_compile=False)
        tell({"set": photographs.name, "guide's epoch, XLA": epochs, "without": without})
        tell({"set": photographs.name} | _served(task, model))
        tell({"set": photographs.name} | _whole(work, own, task))
    of = ("times faster", "guide's accuracy", "our accuracy")
    tell({"mean": "of all"} | {name: mean(row[name] for row in rows) for name in of})


def split_anew(photographs: Path, target: Path, seed: int) -> Path:
    """The photographs of every class as train, validation and test: 6, 1 and 3 of ten."""
    files: dict[str, list[Path]] = {}
    for path in sorted(photographs.rglob("*.*")):
        files.setdefault(path.parent.name, []).append(path)
    for label, paths in files.items():
        random.Random(seed).shuffle(paths)
        for number, path in enumerate(paths):
            share = number / len(paths)
            split = "train" if share < 0.6 else "validation" if share < 0.7 else "test"
            (target / split / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / split / label)
    return target


def _default(task: Task, data: dict[str, Any], seed: int) -> tuple[float, float, TrainedModel]:
    """(seconds, test accuracy, model) of the feature pass and the head."""
    seconds = []
    for turn in range(3):
        networks._frozen.clear()
        clock = Clock(task.work / f"default-{turn}")
        settings = ExtractConfig()
        given = (task.model, task.examples, 0, views_of(), settings)
        features = clock(extract, *given, vectors="taps", seed=seed)
        model: TrainedModel = clock(train_head, features, HeadConfig(), PLAIN, seed=seed)
        seconds.append(sum(clock.seconds.values()))
    return median(seconds), guide.accuracy_of(open_whole(model), data), model


def _served(task: Task, model: TrainedModel) -> dict[str, float]:
    """Images a second at batch 32 and the median of one alone: the guide's export, and ours."""
    clock = Clock(task.work / "served")
    exported = clock(export, model, task.examples, ExportConfig())
    network = open_backbone(task.model, task.model.weights)
    units = len(task.examples.targets[0].space.labels)
    outputs = keras.layers.Dense(units, "softmax")(keras.layers.Dropout(0.2)(network.output))
    theirs = task.work / "guide"
    keras.Model(network.inputs[0], outputs).export(theirs, verbose=False)
    image = np.random.default_rng(0).uniform(0, 255, (BATCH, *network.input_shape[1:]))
    batch = tf.constant(image.astype("float32"))
    signatures = {
        "guide": tf.saved_model.load(theirs).signatures["serving_default"],
        "ours": tf.saved_model.load(exported.path).signatures["serve_float"],
    }
    times: dict[str, dict[str, list[float]]] = {n: {"one": [], "batch": []} for n in signatures}
    for _ in range(30):  # In turns: whatever else is at work slows both.
        for name, signature in signatures.items():
            [given] = signature.structured_input_signature[1]
            for what, images in (("one", batch[:1]), ("batch", batch)):
                started = time.monotonic()
                for answer in signature(**{given: images}).values():
                    answer.numpy()
                times[name][what].append(time.monotonic() - started)
    found: dict[str, float] = {}
    for name, each in times.items():
        found[f"{name}: images/s at {BATCH}"] = BATCH / median(each["batch"][5:])
        found[f"{name}: p50 of one, ms"] = 1000 * median(each["one"][5:])
    found["times at 32"] = found["ours: images/s at 32"] / found["guide: images/s at 32"]
    found["times of one"] = found["guide: p50 of one, ms"] / found["ours: p50 of one, ms"]
    return found


def _whole(work: Path, photographs: Path, task: Task) -> dict[str, float]:
    """Command to pushed, against importing TensorFlow, decoding and the bare forward pass."""
    # The guide trains no control. The median of three: each is a single go.
    without = ("--control.enabled", "false")
    runs = [_run(work / f"whole{turn}", photographs, *without) for turn in range(3)]
    whole, stages = sorted(runs, key=lambda run: run[0])[1]
    controlled, _ = _run(work / "controlled", photographs)
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import tensorflow, keras"], capture_output=True)
    importing = time.monotonic() - started
    started = time.monotonic()
    count, last = _decoded(task.examples, task)
    decoding = time.monotonic() - started
    network = open_backbone(task.model, task.model.weights)
    function = tf.function(lambda x: network(x, training=False))
    batch, best = tf.constant(np.resize(last, (BATCH, *last.shape[1:]))), []
    for _ in range(8):
        started = time.monotonic()
        function(batch).numpy()
        best.append(time.monotonic() - started)
    forward = sorted(best)[2] / BATCH * count
    floor = importing + decoding + forward
    return {
        "whole run": whole,
        "importing": importing,
        "decoding": decoding,
        "bare forward": forward,
        "whole / floor": whole / floor,
        "export + evaluate": stages["export"] + stages["evaluate"],
        "whole run with the control": controlled,
    }


def _run(work: Path, photographs: Path, *more: str) -> tuple[float, dict[str, float]]:
    """Seconds of a whole first run, and of its stages."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "photos", str(photographs)]
    command += ["--store", str(work / photographs.name), "--json", *more]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    seconds = time.monotonic() - started
    return seconds, {s["name"]: s["seconds"] for s in json.loads(done.stdout)["stages"]}


def _decoded(examples: Examples, task: Task) -> tuple[int, np.ndarray]:
    """How many photographs there are, and the last batch of them, decoded."""

    def raw() -> Any:
        for split in examples.counts:
            for row in dataset.rows(examples, split):
                yield row.id.encode(), row.raw, [0]

    count = 0
    for decoded in open_reader(task.model).batches(raw, BATCH, augmented=False):
        count += len(decoded.ids)
        last = decoded.inputs[0]
    return count, last
