"""Ours against the Keras guide's recipe on a GPU or TPU, without TensorFlow: `models/` alone.

```
PYTHONPATH=. KERAS_BACKEND=jax python tests/benchmarks/accelerator.py PHOTOS.npz WEIGHTS.h5 \
    [TIMES [GIANT [BLOCKS [SIDES]]]]
```

PHOTOS.npz has `train`, `train_labels`, `test` and `test_labels`: decoded photographs, (examples,
224, 224, 3) of bytes, and (examples,) of numbers of classes. TIMES repeats the training ones. Of a
GIANT whose weights are `none` the seconds tell something, and the accuracy nothing.

The guide's network, epochs and rates are those of `guide.py`. Both sides are given the photographs
decoded and in memory, and compile as their backend does by itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from models import (
    backbones,
    folding,
    freezing,
    hardware,
    heads,
    linear,
    minibatches,
    objectives,
    optimization,
    slopes,
    splitting,
    taps,
    training,
)
from models.designs import Scale, axes
from models.linear import Question

BATCH, HEAD_EPOCHS, TUNE_EPOCHS, PREDICT = 32, 20, 10, 128


class Giant(NamedTuple):
    """A network, and how many blocks of it are fine-tuned."""

    name: str
    weights: str
    blocks: int

    def open(self) -> keras.Model:
        """With its preprocessing, frozen."""
        found = backbones.build_backbone(self.name, input_size=224)
        if self.weights != "none":
            backbones.load_weights(found, Path(self.weights))
        return found

    def starts(self, network: keras.Model) -> dict[str, int]:
        return splitting.block_starts(network, backbones.find_backbone(self.name).block)

    def unfrozen(self, network: keras.Model) -> list[keras.layers.Layer]:
        blocks = list(splitting.layers_of_blocks(network, self.starts(network)).values())
        return [layer for layers in blocks[-self.blocks :] for layer in layers]


def predict(network: keras.Model, images: np.ndarray) -> Any:
    """Of all, in batches of one size: another one would be compiled for, too."""
    rows = np.arange(-(-len(images) // PREDICT) * PREDICT) % len(images)
    said = network.predict(images[rows], batch_size=PREDICT, verbose=0)
    return keras.tree.map_structure(lambda one: one[: len(images)], said)


def guide(data: dict[str, np.ndarray], giant: Giant) -> dict[str, float]:
    """https://keras.io/guides/transfer_learning/, without augmentation."""
    started = time.monotonic()
    base = giant.open()
    base.trainable = False
    inputs = keras.Input((224, 224, 3))
    outputs = keras.layers.Dropout(0.2)(base(inputs, training=False))
    classes = int(data["train_labels"].max()) + 1
    model = keras.Model(inputs, keras.layers.Dense(classes, "softmax")(outputs))
    steady: list[float] = []
    for epochs, rate in ((HEAD_EPOCHS, 1e-3), (TUNE_EPOCHS, 1e-5)):
        if steady:
            _unfreeze(base, giant)
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        clock = _Epochs()
        model.fit(
            *(data["train"], data["train_labels"]),
            batch_size=BATCH,
            epochs=epochs,
            verbose=0,
            callbacks=[clock],
        )
        steady.append(min(clock.seconds))
    seconds = time.monotonic() - started
    said = predict(model, data["test"])
    return {
        "seconds": seconds,
        "head epoch": steady[0],
        "tuning epoch": steady[1],
        "accuracy": float(np.mean(said.argmax(axis=1) == data["test_labels"])),
    }


def _unfreeze(base: keras.Model, giant: Giant) -> None:
    """The last blocks but for BatchNormalization, in place."""
    base.trainable = True
    unfrozen = {id(layer) for layer in giant.unfrozen(base)}
    for layer in base.layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = id(layer) in unfrozen and not is_norm


class _Epochs(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.monotonic() - self._began)


def tuned(data: dict[str, np.ndarray], giant: Giant) -> dict[str, float]:
    """Frozen part once; a head; then the last blocks from stored activations, in 16 bits."""
    started = time.monotonic()
    base = giant.open()
    starts = giant.starts(base)
    cut = splitting.split(base, starts, list(starts)[-giant.blocks])
    once = keras.Model(base.inputs, [*cut.prefix.outputs, base.output])
    *crossing, pooled = predict(folding.fold(once), data["train"])
    extracted = time.monotonic()
    classes = int(data["train_labels"].max()) + 1
    head = heads.build_head(
        features=pooled.shape[1], outputs=[("probabilities", classes, "softmax")], dropout=0.2
    )
    heads.adapt(head, [pooled])
    truth = minibatches.one_hot(data["train_labels"], classes)
    _, head_epoch = _train(head, [pooled], truth, 1e-3, HEAD_EPOCHS)
    freezing.unfreeze(giant.unfrozen(base))
    half = hardware.half_precision()
    whole = heads.join(folding.fold(cut.suffix, precision=half), head)
    _, tuning_epoch = _train(whole, crossing, truth, 1e-5, TUNE_EPOCHS)
    seconds = time.monotonic() - started
    said = predict(head, predict(base, data["test"]))
    return {
        "seconds": seconds,
        "extract": extracted - started,
        "head epoch": head_epoch,
        "tuning epoch": tuning_epoch,
        "accuracy": float(np.mean(said.argmax(axis=1) == data["test_labels"])),
    }


def _train(
    model: keras.Model, inputs: list[np.ndarray], truth: np.ndarray, rate: float, epochs: int
) -> tuple[training.History, float]:
    """The history, and the seconds of the fastest epoch."""
    loss = objectives.classification(label_smoothing=0.0, focal_gamma=0.0)
    objective = objectives.Objective(
        (objectives.Part(truth.shape[1], loss, (objectives.ACCURACY,)),)
    )
    data = minibatches.labelled(
        truth,
        lambda rows, _: splitting.one_or_all([each[rows] for each in inputs]),
        widths=objective.widths,
    )
    seconds, last = [], time.monotonic()

    def tell(*_: Any) -> None:
        nonlocal last
        seconds.append(time.monotonic() - last)
        last = time.monotonic()

    history = training.train(
        model,
        data,
        data.first(BATCH),
        optimizer=optimization.build_optimizer(
            learning_rate=rate, steps=epochs * data.steps(BATCH)
        ),
        objective=objective,
        length=training.Length(epochs, BATCH),
        seed=0,
        stopping=training.Stopping(restore_best_weights=False, patience=epochs),
        on_epoch=tell,
    )
    return history, min(seconds)


def tapped(data: dict[str, np.ndarray], giant: Giant) -> dict[str, float]:
    """The default: all blocks' pooled outputs, and a linear head that is solved exactly."""
    started = time.monotonic()
    base = giant.open()

    def pooled(output: Any, name: str) -> dict[str, Any]:
        del name
        return {"": keras.ops.mean(keras.ops.mean(output, axis=1), axis=1)}

    body = folding.fold(taps.tapped(base, taps.find(base, giant.starts(base), pooled)))
    features = predict(body, data["train"])
    extracted = time.monotonic()
    truth = minibatches.one_hot(data["train_labels"], int(data["train_labels"].max()) + 1)
    slope = slopes.classification(label_smoothing=0.0, focal_gamma=0.0)
    question = Question(truth, np.ones(len(truth)), "softmax", slope)
    scale = Scale.of([features])
    some = np.arange(min(len(truth), 640))
    standard = scale(features[some])
    with linear.one_thread():
        coordinates = axes(np.asarray(standard @ standard.T, np.float64))
        path = linear.cross_validate(coordinates, question.of(some), some % 5)
        [fit] = linear.fit(lambda: [features], scale, [question], [path.strength])
    seconds = time.monotonic() - started
    said = fit(predict(body, data["test"]))
    return {
        "seconds": seconds,
        "extract": extracted - started,
        "accuracy": float(np.mean(said.argmax(axis=1) == data["test_labels"])),
    }


def main(
    photos: str,
    weights: str,
    times: str = "1",
    name: str = "MobileNetV2",
    blocks: str = "5",
    sides: str = "default,fine-tuned,guide",
) -> None:
    with np.load(photos) as arrays:
        data = dict(arrays)
    for part in ("train", "train_labels"):
        data[part] = np.concatenate([data[part]] * int(times))
    data |= {part: data[part].astype(np.float32) for part in ("train", "test")}
    known: dict[str, Callable[..., dict[str, float]]] = {
        "default": tapped,
        "fine-tuned": tuned,
        "guide": guide,
    }
    for side in sides.split(","):
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        found = known[side](data, Giant(name, weights, int(blocks)))
        told = {"side": side, "giant": name, "photographs": len(data["train"])}
        told |= {key: round(value, 4) for key, value in found.items()}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
