"""The training loop: Keras and NumPy only, so that it runs on TensorFlow, JAX and PyTorch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epy

from models.minibatches import Data, Mixup
from models.resuming import Checkpoint, capture, restore

if TYPE_CHECKING:
    from models.objectives import Objective
    from models.steps import Steps

with epy.lazy_imports():
    import keras

    from models import distribution, hardware, minibatches, steps

# Called with the figures of validation before the first epoch.
OnBegin = Callable[[dict[str, float]], None]
# Called with (epoch, logs) after every epoch.
OnEpoch = Callable[[int, dict[str, float]], None]
# Called with (epoch, step, steps of the epoch, loss of the batch) after every step; where it says
# so, that was the last one: the epoch ends there, and training after it.
OnStep = Callable[[int, int, int, float], bool | None]


@dataclass(frozen=True)
class History:
    """What a phase of training did.

    Attributes:
        epochs: a row an epoch: loss and what is watched, the same of validation with `val_` before
            its name, and learning_rate.
        best_epoch: the epoch (from 0) whose weights the model now has.
        before: the figures of validation before the first epoch, under the same loss.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    before: dict[str, float]

    @property
    def best(self) -> dict[str, float]:
        return self.epochs[self.best_epoch]


@dataclass(frozen=True)
class Stopping:
    """Early stopping, under Keras's own names.

    Attributes:
        monitor: what is looked at: `val_loss`, or `val_` and the name of something watched.
        patience: epochs without an improvement of `min_delta` before training stops.
        start_from_epoch: the first epoch whose weights may be the best.
        restore_best_weights: keep the weights of the best epoch, not of the last.
    """

    monitor: str = "val_loss"
    patience: int = 5
    min_delta: float = 0.0
    start_from_epoch: int = 0
    restore_best_weights: bool = True


@dataclass(frozen=True)
class Length:
    """How long is trained, and with what at once.

    Attributes:
        first_epoch: the number of the first epoch, which its order and its views follow from: a
            phase that goes on where another stopped does not begin with what that one had.
    """

    epochs: int
    batch_size: int
    first_epoch: int = 0


def train(
    model: keras.Model,
    training: Data,
    validation: Data,
    *,
    optimizer: keras.optimizers.Optimizer,
    objective: Objective,
    length: Length,
    seed: int,
    mixup: Mixup = Mixup(),
    stopping: Stopping = Stopping(),
    on_begin: OnBegin | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train what is trainable in `model`; early stopping is Keras's own.

    Args:
        model: from inputs to outputs. It is compiled anew, so that no optimizer's momentum from
            an earlier phase is carried on.
        optimizer: where it averages weights, the averages are what is validated and kept.
        mixup: of the model's inputs.
        on_begin: called before the first epoch.
        on_epoch: called after every epoch; of those before a stop, when training goes on.
        on_step: called after every step; may end training.
        checkpoint: is given the state after an epoch, where it is due. Where it has one already,
            training goes on from it, and ends with the weights that it would have had without the
            stop.
    """
    model.compile(
        optimizer=optimizer,
        loss=objective.loss(model),
        weighted_metrics=objective.metrics(),
        jit_compile=hardware.jit_compile(),
    )
    early, callbacks = _early_stopping(model, objective, stopping)
    # Before the first step: a step that makes variables is compiled twice.
    optimizer.build(model.trainable_variables)
    distribution.build(model, lambda: validation.gather(np.arange(1), 0))
    averages, compiled = _averages(model), steps.Steps(model)
    before = _validate(compiled, validation, objective, length.batch_size)
    if on_begin:
        on_begin(before)
    state = checkpoint.load() if checkpoint else None
    rows = restore(state, model, early) if state else []
    for epoch, row in enumerate(rows):
        if on_epoch:
            on_epoch(epoch, row)
    for epoch in range(len(rows), length.epochs):
        if model.stop_training:
            break
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        number = length.first_epoch + epoch
        tell = partial(on_step, epoch) if on_step else None
        seen = _epoch(compiled, training, objective, number, length.batch_size, seed, mixup, tell)
        averages.on_epoch_end(epoch)  # Puts them into the model, …
        logs = seen | _validate(compiled, validation, objective, length.batch_size)
        rows.append(logs | {"learning_rate": rate})
        callbacks.on_epoch_end(epoch, logs)
        averages.on_epoch_begin(epoch + 1)  # … and the weights that training goes on from.
        if checkpoint and checkpoint.is_due():
            checkpoint.save(capture(model, early, rows))
        if on_epoch:
            on_epoch(epoch, rows[-1])
    # Without a best epoch (all were before start_from_epoch) the weights are the last one's.
    last = early.best is None or not stopping.restore_best_weights
    if last:
        averages.on_epoch_end(len(rows))
    callbacks.on_train_end()
    return History(tuple(rows), len(rows) - 1 if last else early.best_epoch, before)


def _early_stopping(
    model: keras.Model, objective: Objective, stopping: Stopping
) -> tuple[keras.callbacks.EarlyStopping, keras.callbacks.CallbackList]:
    early = keras.callbacks.EarlyStopping(
        monitor=stopping.monitor,
        mode="max" if objective.more_is_better(stopping.monitor) else "min",
        min_delta=stopping.min_delta,
        patience=stopping.patience,
        restore_best_weights=stopping.restore_best_weights,
        start_from_epoch=stopping.start_from_epoch,
    )
    callbacks = keras.callbacks.CallbackList([early], model=model)
    callbacks.on_train_begin()
    model.stop_training = False
    return early, callbacks


def _epoch(
    compiled: Steps,
    data: Data,
    objective: Objective,
    number: int,
    batch_size: int,
    seed: int,
    mixup: Mixup,
    tell: Callable[[int, int, float], bool | None] | None,
) -> dict[str, float]:
    """Train one epoch; returns the mean loss and figures while it went on.

    Args:
        tell: called with (step, steps, loss) after every step; may end the epoch and the training.
    """
    seen = _Means(data, objective)
    rng = np.random.default_rng([seed, number])
    lengths = data.lengths(number) if data.lengths else None
    batches = minibatches.batches(rng.permutation(len(data)), batch_size, lengths, rng)
    count = data.steps(batch_size)
    for step, (chosen, weights) in enumerate(batches, start=1):
        batch = minibatches.part_of(data, chosen, weights, number, whole=mixup.alpha > 0)
        if mixup.alpha:
            batch = distribution.part(minibatches.mix(batch, mixup, rng, data.widths))
        x, y, w = distribution.shared(batch)
        logs = compiled.train(x, y, w)
        seen.add(logs, chosen[weights > 0])
        if tell and tell(step, count, float(logs["loss"])):
            compiled.model.stop_training = True
            break
    return seen.result()


def evaluate(
    model: keras.Model, data: Data, objective: Objective, batch_size: int
) -> dict[str, float]:
    """Loss and what is watched of a compiled model on `data`, each example as it is in epoch 0."""
    return _evaluate(steps.Steps(model), data, objective, batch_size)


def _evaluate(
    compiled: Steps, data: Data, objective: Objective, batch_size: int
) -> dict[str, float]:
    seen = _Means(data, objective)
    lengths = data.lengths(0) if data.lengths else None
    for rows, weights in minibatches.batches(np.arange(len(data)), batch_size, lengths):
        x, y, w = distribution.shared(minibatches.part_of(data, rows, weights, 0))
        seen.add(compiled.test(x, y, w), rows[weights > 0])
    return seen.result()


def _validate(
    compiled: Steps, data: Data, objective: Objective, batch_size: int
) -> dict[str, float]:
    """In larger batches: without gradients there is room for them, and fewer steps are faster."""
    figures = _evaluate(compiled, data, objective, 4 * batch_size)
    return {f"val_{name}": value for name, value in figures.items()}


def _averages(model: keras.Model) -> keras.callbacks.Callback:
    """Swaps the optimizer's moving averages into the model after an epoch, and out before one."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not inner.use_ema:
        return keras.callbacks.Callback()
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    swap.set_model(model)
    swap.set_params({"epochs": 0})  # There is no last epoch whose weights it should throw away.
    return swap


class _Means:
    """The mean over examples of what is known for each batch.

    The loss counts every example alike. A figure counts those of its part as much as they weigh:
    where an answer is missing, not at all.
    """

    def __init__(self, data: Data, objective: Objective) -> None:
        self._weights, self._parts = data.weights, objective.part_of_figures()
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, float] = defaultdict(float)

    def add(self, logs: dict[str, Any], rows: np.ndarray) -> None:
        """The figures of a batch of these rows."""
        for name, value in logs.items():
            part = self._parts.get(name)
            count = len(rows) if part is None else float(self._weights[rows, part].sum())
            self._counts[name] += count
            self._sums[name] += count * float(value)

    def result(self) -> dict[str, float]:
        return {name: value / (self._counts[name] or 1.0) for name, value in self._sums.items()}
