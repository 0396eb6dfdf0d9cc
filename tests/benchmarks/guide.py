"""Ours against the Keras guide's recipe: same photographs, backbone, weights, epochs, cut, seeds.

`make bench` prints a table and writes `bench.json` beside the store. The guide's recipe is
https://keras.io/guides/transfer_learning/: the whole network every epoch, `training=False`, flip
and rotation, batch 32, Adam 1e-3 and then, BatchNormalization frozen, 1e-5. It is given every
advantage: pictures decoded once and kept in memory, no XLA (slower here), nothing else timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from pipeline.quiet import import_tensorflow

import_tensorflow()

import keras
import tensorflow as tf

from components import dataset
from components.artifacts import AssembledModel, Examples, TrainedModel
from components.assemble import ModelConfig, Pretrained, assemble
from components.augment import AugmentConfig
from components.extract import ExtractConfig, extract
from components.fine_tune import FineTuneConfig, fine_tune
from components.modalities import MODALITIES
from components.networks import cut, open_backbone, open_classifier
from components.train_head import HeadConfig, train_head
from components.validate import validate
from models import freezing, heads
from tests.conftest import SHARED
from tests.helpers import ingested, job

HEAD_EPOCHS, TUNE_EPOCHS, BATCH, CUT = 20, 10, 32, "block_13"


def decoded(examples: Examples, model: AssembledModel, split: str) -> tuple[np.ndarray, np.ndarray]:
    """All pictures of a split as the network reads them, and their class numbers."""
    rows = list(dataset.read(examples, split).as_numpy_iterator())
    decode = MODALITIES[examples.modality].decode
    images = np.stack([decode(model, tf.constant(row["image"])).numpy() for row in rows])
    return images, np.array([row["label"] for row in rows])


def guide(
    model: AssembledModel, data: dict[str, Any], seed: int, *, augment: bool
) -> tuple[float, float]:
    """(seconds, test accuracy) of the guide's recipe."""
    keras.utils.set_random_seed(seed)
    network = open_backbone(model, model.weights)
    head = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(2, "softmax")])
    inputs = keras.Input(network.input_shape[1:])
    x: Any = inputs
    if augment:
        x = keras.layers.RandomFlip("horizontal")(x)
        x = keras.layers.RandomRotation(0.1)(x)
    whole = keras.Model(inputs, head(network(x, training=False)))
    suffix = cut(model, network, CUT).suffix
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
    seconds = time.monotonic() - started
    probabilities = whole.predict(data["test"][0], verbose=0)
    return seconds, float(np.mean(probabilities.argmax(1) == data["test"][1]))


def ours(
    directory: Path,
    model: AssembledModel,
    examples: Examples,
    data: dict[str, Any],
    seed: int,
    *,
    views: int,
    learning_rate: float = 1e-3,
) -> tuple[dict[str, float], float]:
    """(seconds of each stage, test accuracy); what `directory` has is reused."""
    seconds: dict[str, float] = {}

    def timed(stage: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        target = directory / f"{stage.__name__}-{learning_rate}"
        shutil.rmtree(target, ignore_errors=True)
        work = job(target)
        started = time.monotonic()
        result = stage(work, *args, **kwargs)
        seconds[stage.__name__] = time.monotonic() - started
        return result

    augment, settings = AugmentConfig(views=views), ExtractConfig()
    features = timed(extract, model, examples, CUT, augment, settings, pooled=True, seed=seed)
    head = HeadConfig(epochs=HEAD_EPOCHS, learning_rate=learning_rate, patience=HEAD_EPOCHS)
    trained = timed(train_head, features, head, seed=seed)
    tune = FineTuneConfig(unfreeze=CUT, epochs=TUNE_EPOCHS, patience=TUNE_EPOCHS)
    tuned: TrainedModel = timed(fine_tune, trained, features, tune, seed=seed)
    classifier = open_classifier(tuned)
    classifier.compile(jit_compile=False)
    probabilities = classifier.predict(data["test"][0], verbose=0)
    return seconds, float(np.mean(probabilities.argmax(1) == data["test"][1]))


def floor(model: AssembledModel, data: dict[str, Any]) -> dict[str, float]:
    """What the hardware asks for: ms an example forward, and of the suffix forward and backward."""
    network = open_backbone(model, model.weights)
    parts = cut(model, network, CUT)
    batch = tf.constant(data["train"][0][:BATCH])
    freezing.unfreeze(parts.suffix.layers)
    head = heads.build_head(features=network.output_shape[-1], num_classes=2, normalize=False)
    tail = heads.join(parts.suffix, head)
    crossing = tf.constant(np.asarray(keras.tree.flatten(parts.prefix(batch))[0]))
    targets = tf.one_hot(data["train"][1][:BATCH], 2)

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, tail(x)))
        return tape.gradient(loss, [v.value for v in tail.trainable_variables])

    def best(function: Any, argument: Any) -> float:
        compiled = tf.function(function, jit_compile=False)
        times = []
        for _ in range(12):
            started = time.monotonic()
            keras.tree.map_structure(np.asarray, compiled(argument))
            times.append(time.monotonic() - started)
        return 1000 * sorted(times)[2] / BATCH

    return {
        "whole forward": best(lambda x: network(x, training=False), batch),
        "suffix forward": best(lambda x: tail(x, training=False), crossing),
        "suffix forward and backward": best(step, crossing),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "hymenoptera")
    parser.add_argument("--out", type=Path, default=Path(".store/bench.json"))
    options = parser.parse_args()
    os.environ.setdefault("KERAS_HOME", str(SHARED / "keras_home"))
    work = Path(tempfile.mkdtemp())
    examples = ingested(work / "examples", options.data)
    checks = validate(job(work / "checks"), examples, None, False)
    weights = Pretrained("imagenet", "ImageNet", imagenet=True)
    model = assemble(job(work / "model"), checks, weights, ModelConfig(), seed=0)
    data = {split: decoded(examples, model, split) for split in examples.counts}
    rows: dict[str, list[tuple[float, float]]] = {}
    stages: list[dict[str, float]] = []
    for seed in range(options.seeds):
        for name, augment in (("guide", False), ("guide, augmented", True)):
            rows.setdefault(name, []).append(guide(model, data, seed, augment=augment))
        for name, views in (("ours", 1), ("ours, 4 views", 4)):
            place = work / f"{seed}-{views}"
            seconds, accuracy = ours(place, model, examples, data, seed, views=views)
            stages.append({"views": views, **seconds})
            rows.setdefault(name, []).append((sum(seconds.values()), accuracy))
            again, accuracy = ours(
                place, model, examples, data, seed, views=views, learning_rate=2e-3
            )
            changed = f"{name}, other learning rate"
            rows.setdefault(changed, []).append((sum(again.values()), accuracy))
    figures = {
        name: {"seconds": mean(s for s, _ in runs), "accuracy": mean(a for _, a in runs)}
        for name, runs in rows.items()
    }
    against = {"ours": "guide", "ours, 4 views": "guide, augmented"}
    for name, row in figures.items():
        first = name.removesuffix(", other learning rate")
        other = figures[against[first] if first == name and first in against else first]
        row["ratio"] = other["seconds"] / row["seconds"]
    budget = {
        views: {
            stage: mean(row[stage] for row in stages if row["views"] == views)
            for stage in ("extract", "train_head", "fine_tune")
        }
        for views in (1, 4)
    }
    result: dict[str, Any] = {
        "figures": figures,
        "stages": budget,
        "floor ms an example": floor(model, data),
        "runs": rows,
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(f"{'':<36}{'seconds':>9}{'accuracy':>10}{'ratio':>7}")
    for name, row in figures.items():
        print(f"{name:<36}{row['seconds']:>9.1f}{row['accuracy']:>10.3f}{row['ratio']:>7.1f}")
    for views, parts in budget.items():
        print(f"{views} view(s): " + ", ".join(f"{k} {v:.1f} s" for k, v in parts.items()))
    floors = result["floor ms an example"].items()
    print("floor: " + ", ".join(f"{k} {v:.2f} ms an example" for k, v in floors))
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
