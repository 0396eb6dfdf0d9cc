"""What is minimized and what is watched: one loss over all outputs of a head, a part a target.

A head has one output tensor, (batch, outputs), and each target has some of its columns. Targets
have the same columns; weights are (batch, parts), 0 where an answer is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from models import distribution

# (batch, columns) of targets and of outputs → (batch,).
PerExample = Callable[[Any, Any], Any]
_BALANCE = "balance"


@dataclass(frozen=True)
class Watched:
    """A figure that is followed in training: the weighted mean of something of each example."""

    name: str
    of_each: PerExample
    more_is_better: bool


@dataclass(frozen=True)
class Part:
    """One target's share of what is minimized.

    Attributes:
        width: how many columns it has.
        weight: how much its loss counts.
        name: put before the names of what is watched, with a slash; empty for none.
    """

    width: int
    loss: PerExample
    watched: tuple[Watched, ...]
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class Objective:
    """All parts together.

    Attributes:
        by_uncertainty: each part's weight is learned, as the uncertainty of its answers (Kendall,
            Gal & Cipolla 2018, arXiv:1705.07115): exp(-s) of its loss, and s / 2 for saying so.
    """

    parts: tuple[Part, ...]
    by_uncertainty: bool = False
    widths: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(part.width for part in self.parts))

    def loss(self, model: keras.Model) -> keras.losses.Loss:
        """The loss of `model`, whose head has the learned weights in it, where they are learned."""
        balance = find_balance(model) if self.by_uncertainty else None
        return _Joint(self.parts, balance)

    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is watched."""
        found, start = [], 0
        for number, part in enumerate(self.parts):
            columns = slice(start, start + part.width)
            found += [_Mean(watched, part.name, number, columns) for watched in part.watched]
            start += part.width
        return found

    def part_of_figures(self) -> dict[str, int]:
        """The name of each figure that is watched → the number of its part."""
        return {
            _named(part.name, watched.name): number
            for number, part in enumerate(self.parts)
            for watched in part.watched
        }

    def more_is_better(self, monitor: str) -> bool:
        """Whether a greater `monitor`, such as `val_accuracy`, is a better one."""
        return any(
            watched.more_is_better
            for part in self.parts
            for watched in part.watched
            if monitor == f"val_{_named(part.name, watched.name)}"
        )


def _named(part: str, name: str) -> str:
    return f"{part}/{name}" if part else name


class _Joint(keras.losses.Loss):
    """(batch, parts) of losses, whose weighted mean over the batch is summed over the parts."""

    def __init__(self, parts: Sequence[Part], balance: Any) -> None:
        super().__init__(name="joint")
        self._parts, self._balance = tuple(parts), balance

    def call(self, y_true: Any, y_pred: Any) -> Any:
        losses, start = [], 0
        for number, part in enumerate(self._parts):
            columns = slice(start, start + part.width)
            each = part.loss(y_true[:, columns], y_pred[:, columns])
            # Keras takes the mean over batch and parts; the sum over parts is meant.
            factor = part.weight * len(self._parts)
            each = each if factor == 1.0 else each * factor
            if self._balance is not None:
                uncertainty = keras.ops.convert_to_tensor(self._balance)[number]
                price = 0.5 * len(self._parts) * uncertainty
                each = each * keras.ops.exp(-uncertainty) + price
            losses.append(each)
            start += part.width
        return keras.ops.stack(losses, axis=-1)


class _Mean(keras.metrics.Mean):
    """Of the whole batch: the mean of the devices' own would weigh each alike."""

    def __init__(self, watched: Watched, part: str, number: int, columns: slice) -> None:
        super().__init__(name=_named(part, watched.name))
        self._of_each, self._number, self._columns = watched.of_each, number, columns

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        values = self._of_each(y_true[:, self._columns], y_pred[:, self._columns])
        weights = None if sample_weight is None else sample_weight[:, self._number]
        return super().update_state(values, weights)

    def result(self) -> Any:
        sums = [keras.ops.convert_to_tensor(each) for each in (self.total, self.count)]
        (total, count), _ = distribution.summed(sums)
        return keras.ops.divide_no_nan(total, count)


class Balance(keras.layers.Layer):
    """Passes on what it is given, and holds one weight a part: see `Objective.by_uncertainty`."""

    def __init__(self, parts: int, **arguments: Any) -> None:
        super().__init__(**{"name": _BALANCE, "dtype": "float32"} | arguments)
        self._parts = parts
        self.uncertainty = self.add_weight(
            shape=(parts,), initializer="zeros", name="uncertainty", dtype="float32"
        )

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"parts": self._parts}


def find_balance(model: keras.Model) -> Any:
    """The weights that `Balance` holds, however deep in `model` it is."""
    for layer in model._flatten_layers():
        if isinstance(layer, Balance):
            return layer.uncertainty
    raise ValueError("a model whose parts are weighted by uncertainty must have a Balance layer")


def classification(*, label_smoothing: float = 0.0, focal_gamma: float = 0.0) -> PerExample:
    """Cross-entropy, or focal loss (Lin et al. 2017, arXiv:1708.02002) for a gamma above 0.

    Args:
        label_smoothing: the share of each label that is spread over all classes.
        focal_gamma: how much less an example counts that is already right; the paper has 2.
    """

    def loss(truth: Any, said: Any) -> Any:
        if focal_gamma:
            return keras.losses.categorical_focal_crossentropy(
                truth, said, alpha=1.0, gamma=focal_gamma, label_smoothing=label_smoothing
            )
        return keras.losses.categorical_crossentropy(truth, said, label_smoothing=label_smoothing)

    return loss


def multi_label(
    *, label_smoothing: float = 0.0, focal_gamma: float = 0.0, positive_weights: np.ndarray | None
) -> PerExample:
    """The mean over labels of binary cross-entropy, or of focal loss, of (batch, labels).

    Args:
        positive_weights: (labels,), how much a label counts where it is there; 1 where None.
    """

    def loss(truth: Any, said: Any) -> Any:
        said = keras.ops.clip(said, 1e-7, 1.0 - 1e-7)
        smooth = truth * (1.0 - label_smoothing) + 0.5 * label_smoothing
        there, not_there = -smooth * keras.ops.log(said), -(1.0 - smooth) * keras.ops.log1p(-said)
        if focal_gamma:
            there = there * keras.ops.power(1.0 - said, focal_gamma)
            not_there = not_there * keras.ops.power(said, focal_gamma)
        if positive_weights is not None:
            there = there * keras.ops.convert_to_tensor(positive_weights.astype("float32"))
        return keras.ops.mean(there + not_there, axis=-1)

    return loss


def squared(truth: Any, said: Any) -> Any:
    """Mean squared error of (batch, numbers)."""
    return keras.ops.mean(keras.ops.square(truth - said), axis=-1)


def huber(delta: float) -> PerExample:
    """Squared up to `delta`, linear beyond (Huber 1964): what is far off pulls less."""
    return lambda truth, said: keras.losses.huber(truth, said, delta=delta)


def single(classes: int, **options: float) -> Objective:
    """One part of so many classes, with accuracy; see `classification`."""
    return Objective((Part(classes, classification(**options), (ACCURACY,)),))


def _is_right(truth: Any, said: Any) -> Any:
    return keras.metrics.categorical_accuracy(truth, said)


ACCURACY = Watched("accuracy", _is_right, more_is_better=True)


def balanced_class_weights(targets: np.ndarray) -> np.ndarray:
    """A weight for each class, so that all classes weigh the same in sum and examples 1 on average.

    scikit-learn's "balanced" rule: examples / (classes that occur x examples of the class).

    Args:
        targets: (examples, classes), each row a distribution over the classes.
    """
    counts = targets.sum(axis=0)
    weights: np.ndarray = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1e-9))
    return np.where(counts > 0, weights, 0).astype("float32")
