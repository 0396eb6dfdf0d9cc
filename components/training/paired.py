"""What two models lose on the very same examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.tasks.learning import Learning
from components.tasks.protocol import Target
from components.tasks.table import slices, task_of
from components.training.data import TrainingData
from models.minibatches import Data

with epy.lazy_imports():
    import keras

    from models import hardware

# Without gradients there is room for more of them than in a step of training.
_BATCH = 128
# Points on the line between two models that are looked at.
_SHARES = tuple(np.linspace(0, 1, 11))


def losses(
    model: keras.Model,
    data: TrainingData,
    targets: Sequence[Target],
    learning: Learning,
) -> Callable[[], np.ndarray]:
    """→ (examples,): the loss of each validation example, of all its targets, as they weigh.

    Of what would be served, with what is settled on these examples: a temperature mends a model
    that is too sure, and one that is not gains nothing by it. The model is compiled anew, once; its
    weights may change between the calls.
    """
    model.compile(jit_compile=hardware.jit_compile())

    def judge() -> np.ndarray:
        said = outputs(data.validation, lambda inputs: np.asarray(model.predict_on_batch(inputs)))
        return lost(said, data, targets, learning)

    return judge


@dataclass(frozen=True)
class Outputs:
    """What was said of examples: (examples, outputs), what should be, and (examples, targets) how
    much each answer counts."""

    said: np.ndarray
    wanted: np.ndarray
    weights: np.ndarray


def outputs(examples: Data, ask: Callable[[Any], np.ndarray]) -> Outputs:
    """All examples, as they are, a batch at a time."""
    parts = []
    for start in range(0, len(examples), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(examples)))
        inputs, truth, weights = examples.gather(rows, 0)
        parts.append((ask(inputs), truth, weights))
    return Outputs(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def lost(
    found: Outputs, data: TrainingData, targets: Sequence[Target], learning: Learning
) -> np.ndarray:
    """(examples,) of the losses of validation examples; see `losses`."""
    total = np.zeros(len(found.said))
    for number, (target, columns) in enumerate(slices(tuple(targets))):
        task, own = task_of(target), found.said[:, columns]
        own = task.calibrated(own, task.settle(target.space, data.answers[number], own))
        each, _ = data.slopes[number](found.wanted[:, columns], own)
        total += learning.weights.get(target.name, 1.0) * found.weights[:, number] * each
    return total


def better_by(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(by how much the loss of the same examples fell, the standard error of that)."""
    fell = before - after
    return float(fell.mean()), float(fell.std(ddof=1) / np.sqrt(len(fell)))


def on_the_line(
    place: Callable[[float], None], judge: Callable[[], np.ndarray]
) -> tuple[float, list[dict[str, float]]]:
    """The point between two models that is to be kept, and the loss at each that was looked at.

    WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903): the least loss on validation examples; and of
    those that are no worse than that beyond a standard error, the one nearest to the beginning,
    which has forgotten least.

    Args:
        place: put the weights at a share of the way.
        judge: see `losses`.
    """
    each = []
    for share in _SHARES:
        place(float(share))
        each.append(np.nan_to_num(judge(), nan=np.inf, posinf=1e9))
    means = [float(each_loss.mean()) for each_loss in each]
    best = int(np.argmin(means))
    for number, found in enumerate(each):
        worse, error = better_by(found, each[best])
        if number == best or worse <= error:
            break
    place(float(_SHARES[number]))
    curve = [
        {"share": float(share), "loss": loss} for share, loss in zip(_SHARES, means, strict=True)
    ]
    return float(_SHARES[number]), curve
