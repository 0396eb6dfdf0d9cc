"""Ours against the Keras guide's recipe: same photographs, backbone, weights, epochs, cut, seeds.

The guide's recipe is https://keras.io/guides/transfer_learning/: the whole network every epoch,
`training=False`, flip and rotation, batch 32, Adam 1e-3 and then, BatchNormalization frozen, 1e-5.
It is given every advantage: pictures decoded once, untimed, and kept in memory, and no XLA, which
is slower here. Ours is timed from the stored photographs on.
"""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import mean
from typing import Any

import keras
import numpy as np

from components.frozen.networks import cut, open_backbone
from components.training.heads import open_whole
from models import freezing
from tests.benchmarks.setting import BATCH, CUT, HEAD_EPOCHS, TUNE_EPOCHS, Clock, Task

# Another learning rate for the head than the first run's.
OTHER_RATE = 2e-3
_Runs = dict[str, list[tuple[float, float]]]


def compare(task: Task, seeds: int) -> dict[str, Any]:
    """Seconds and test accuracy of each contender, and ours by stage; means over the seeds."""
    data = {split: task.decoded(split) for split in task.examples.counts}
    runs: _Runs = defaultdict(list)
    stages: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(seeds):
        for name, augment in (("guide", False), ("guide, augmented", True)):
            runs[name].append(guide(task, data, seed, augment=augment))
        for name, views in (("ours", 1), ("ours, 4 views", 4)):
            clock = Clock(task.work / f"{seed}-{views}" / "stages")
            features = clock.extract(task, seed, views)
            accuracy = accuracy_of(open_whole(clock.train(features, seed)), data)
            first = dict(clock.seconds)
            stages[name].append(first)
            runs[name].append((sum(first.values()), accuracy))
            # The pipeline's store has the features; that they hold is seen from their manifest.
            changed = accuracy_of(open_whole(clock.train(features, seed, OTHER_RATE)), data)
            again = {key: value for key, value in clock.seconds.items() if key != "extract"}
            runs[f"{name}, other head rate"].append((sum(again.values()), changed))
            runs[f"{name}, head only"].append((first["extract"] + first["train_head"], np.nan))
            runs[f"{name}, head only, other rate"].append((again["train_head"], np.nan))
    return {"runs": runs, "figures": _figures(runs), "stages": _means(stages)}


def guide(task: Task, data: dict[str, Any], seed: int, *, augment: bool) -> tuple[float, float]:
    """(seconds, test accuracy) of the guide's recipe."""
    whole, suffix = _built(task, data, seed, augment=augment)
    images, labels = data["train"]
    started = time.monotonic()
    for epochs, rate in ((HEAD_EPOCHS, 1e-3), (TUNE_EPOCHS, 1e-5)):
        whole.compile(
            keras.optimizers.Adam(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=False,
        )
        whole.fit(
            images,
            labels,
            batch_size=BATCH,
            epochs=epochs,
            validation_data=data["validation"],
            verbose=0,
        )
        freezing.unfreeze(suffix.layers)
    return time.monotonic() - started, accuracy_of(whole, data)


def _built(
    task: Task, data: dict[str, Any], seed: int, *, augment: bool = False
) -> tuple[keras.Model, keras.Model]:
    """The guide's network, and the part of it that is unfrozen."""
    keras.utils.set_random_seed(seed)
    network = open_backbone(task.model, task.model.weights)
    classes = int(data["train"][1].max()) + 1
    head = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(classes, "softmax")])
    inputs = keras.Input(network.input_shape[1:])
    x: Any = inputs
    if augment:
        x = keras.layers.RandomFlip("horizontal")(x)
        x = keras.layers.RandomRotation(0.1)(x)
    whole = keras.Model(inputs, head(network(x, training=False)))
    return whole, cut(task.model, network, CUT).suffix


def step_seconds(task: Task, data: dict[str, Any], *, jit_compile: bool) -> float:
    """Seconds of an epoch of the head, the second one: the first is compiled."""
    whole, _ = _built(task, data, 0)
    images, labels = (each[: 4 * BATCH] for each in data["train"])
    whole.compile("adam", "sparse_categorical_crossentropy", jit_compile=jit_compile)
    for _ in range(2):
        started = time.monotonic()
        whole.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)
        seconds = time.monotonic() - started
    return seconds / len(images) * len(data["train"][1])


def accuracy_of(model: keras.Model, data: dict[str, Any]) -> float:
    model.compile(jit_compile=False)
    probabilities = model.predict(data["test"][0], verbose=0)
    return float(np.mean(probabilities.argmax(1) == data["test"][1]))


def _figures(runs: _Runs) -> dict[str, dict[str, float]]:
    """Means, and each against what it is to be compared with."""
    seconds = {name: mean(run[0] for run in each) for name, each in runs.items()}
    figures = {}
    for name, each in runs.items():
        against = "guide, augmented" if name == "ours, 4 views" else "guide"
        if "head only, other rate" in name:
            against = name.removesuffix(", other rate")
        elif "other head rate" in name:
            against = name.removesuffix(", other head rate")
        figures[name] = {
            "seconds": seconds[name],
            "accuracy": mean(run[1] for run in each),
            "times faster": seconds[against] / seconds[name],
            "share": seconds[name] / seconds[against],
        }
    return figures


def _means(stages: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {stage: mean(row[stage] for row in rows) for stage in rows[0]}
        for name, rows in stages.items()
    }
