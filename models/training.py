"""The training loop: Keras and NumPy only, so that it runs on TensorFlow, JAX and PyTorch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from models.resuming import Checkpoint, capture, restore

with epy.lazy_imports():
    import keras

# Called with (epoch, logs) after every epoch.
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Data:
    """Examples that are gathered a batch at a time.

    Attributes:
        targets: (examples, classes), each row a distribution over the classes.
        gather: (rows, epoch) → the model's inputs for these rows, as it is to see them in
            this epoch.
    """

    targets: np.ndarray
    gather: Callable[[np.ndarray, int], Any]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class History:
    """What a phase of training did.

    Attributes:
        epochs: a row an epoch: loss, accuracy, val_loss, val_accuracy, learning_rate.
        best_epoch: the epoch (from 0) whose weights the model now has.
        before: val_loss and val_accuracy before the first epoch, under the same loss.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    before: dict[str, float]

    @property
    def best(self) -> dict[str, float]:
        return self.epochs[self.best_epoch]


def train(
    model: keras.Model,
    training: Data,
    validation: Data,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    weight_decay: float = 0.0,
    warmup_epochs: float = 0.0,
    label_smoothing: float = 0.0,
    patience: int = 5,
    min_delta: float = 0.0,
    start_from_epoch: int = 0,
    on_epoch: OnEpoch | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train what is trainable in `model`; it ends with the weights of its best epoch.

    Adam, or AdamW where `weight_decay` is not 0 (Loshchilov & Hutter 2019, arXiv:1711.05101),
    whose learning rate rises linearly for `warmup_epochs` and then falls along a cosine to 0
    (arXiv:1608.03983). Early stopping is Keras's own, on validation loss.

    Args:
        model: from inputs to probabilities. It is compiled anew, so that no optimizer's
            momentum from an earlier phase is carried on.
        warmup_epochs: may be a fraction; 0 for none.
        patience: epochs without an improvement of `min_delta` before training stops.
        start_from_epoch: the first epoch whose weights may be the best.
        on_epoch: called after every epoch.
        checkpoint: is offered the state after every epoch. Where it has one already, training goes
            on from it, and ends with the weights that it would have had without the stop.
    """
    batches = -(-len(training) // batch_size)
    model.compile(
        optimizer=_optimizer(
            learning_rate, epochs * batches, round(warmup_epochs * batches), weight_decay
        ),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # "auto" means XLA, which is several times slower on the CPU for depthwise networks.
        jit_compile=False,
    )
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss",
        min_delta=min_delta,
        patience=patience,
        restore_best_weights=True,
        start_from_epoch=start_from_epoch,
    )
    callbacks = keras.callbacks.CallbackList([stopping], model=model)
    callbacks.on_train_begin()
    model.stop_training = False
    # Before the first step: a step that makes variables is compiled twice.
    model.optimizer.build(model.trainable_variables)
    before = _validate(model, validation, batch_size)
    state = checkpoint.load() if checkpoint else None
    rows = restore(state, model, stopping) if state else []
    for epoch in range(len(rows), epochs):
        if model.stop_training:
            break
        rate = float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        seen = _Mean()
        order = np.random.default_rng([seed, epoch]).permutation(len(training))
        for chosen, weights in _batches(order, batch_size):
            inputs, targets = training.gather(chosen, epoch), training.targets[chosen]
            batch = model.train_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
            seen.add(batch, int(np.count_nonzero(weights)))
        logs = seen.result() | _validate(model, validation, batch_size)
        rows.append(logs | {"learning_rate": rate})
        callbacks.on_epoch_end(epoch, logs)
        if checkpoint:
            checkpoint.save(capture(model, stopping, rows))
        if on_epoch:
            on_epoch(epoch, rows[-1])
    callbacks.on_train_end()
    # Without a best epoch (all were before start_from_epoch) the weights are the last one's.
    best = len(rows) - 1 if stopping.best is None else stopping.best_epoch
    return History(tuple(rows), best, before)


def evaluate(model: keras.Model, data: Data, batch_size: int) -> dict[str, float]:
    """Loss and accuracy of a compiled model on `data`, each example as it is in epoch 0."""
    seen = _Mean()
    for rows, weights in _batches(np.arange(len(data)), batch_size):
        inputs, targets = data.gather(rows, 0), data.targets[rows]
        batch = model.test_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
        seen.add(batch, int(np.count_nonzero(weights)))
    return seen.result()


def _validate(model: keras.Model, data: Data, batch_size: int) -> dict[str, float]:
    return {f"val_{name}": value for name, value in evaluate(model, data, batch_size).items()}


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(examples,) of class numbers → (examples, num_classes), float32."""
    distributions: np.ndarray = np.eye(num_classes, dtype="float32")[labels]
    return distributions


def _optimizer(
    learning_rate: float, steps: int, warmup_steps: int, weight_decay: float
) -> keras.optimizers.Optimizer:
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(1, steps - warmup_steps),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    if not weight_decay:
        return keras.optimizers.Adam(schedule)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _batches(order: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, weights) of each batch: as few batches as can be, all of one size.

    A last batch that is smaller would make the backend compile everything a second time. So the
    batches are made as even as they can be, and where one is a row short, a row is repeated
    with weight 0, and the others weigh as much more: the loss is the mean over the real rows.
    """
    count = -(-len(order) // batch_size)
    size = -(-len(order) // count)
    for rows in np.array_split(order, count):
        missing = size - len(rows)
        weights = np.full(size, size / len(rows), np.float32)
        weights[len(rows) :] = 0.0
        yield np.concatenate([rows, rows[:missing]]), weights


class _Mean:
    """The mean over examples of what is known for each batch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._examples = 0

    def add(self, logs: dict[str, Any], examples: int) -> None:
        self._examples += examples
        for name, value in logs.items():
            self._sums[name] += examples * float(value)

    def result(self) -> dict[str, float]:
        return {name: value / self._examples for name, value in self._sums.items()}
