"""What is trained on: examples that are gathered a batch at a time, all batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from etils import epy

from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from models import distribution


# What a model is trained on at once: its inputs, whatever their structure; (batch, outputs) of
# targets; and (batch, parts) of weights, one for each part of the targets.
Batch = tuple[Any, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Data:
    """Examples that are gathered a batch at a time.

    Attributes:
        size: how many examples there are.
        gather: (rows, epoch) → inputs, targets and weights of these rows, as the model is to see
            them in this epoch; ragged inputs are as long as the longest of them.
        weights: (examples, parts), how much each example counts in each part of the targets.
        lengths: epoch → how long each example is, in any unit, so that batches are of examples
            of one length and little is padding; None where all are of one shape.
        widths: how many of the targets' columns belong to each part; all to one where empty.
    """

    size: int
    gather: Callable[[np.ndarray, int], Batch]
    weights: np.ndarray
    lengths: Callable[[int], np.ndarray] | None = None
    widths: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.size

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return -(-len(self) // batch_size)

    def first(self, count: int) -> Data:
        """The first examples, no more than there are."""
        count, lengths = min(count, self.size), self.lengths
        return replace(
            self,
            size=count,
            weights=self.weights[:count],
            lengths=(lambda epoch: lengths(epoch)[:count]) if lengths else None,
        )


def labelled(
    targets: np.ndarray,
    gather: Callable[[np.ndarray, int], Any],
    lengths: Callable[[int], np.ndarray] | None = None,
    *,
    weights: np.ndarray | None = None,
    widths: tuple[int, ...] = (),
) -> Data:
    """Data whose targets are the same in every epoch.

    Args:
        targets: (examples, outputs).
        gather: (rows, epoch) → the model's inputs.
        weights: (examples, parts); all 1 where None.
    """
    if weights is None:
        weights = np.ones((len(targets), max(1, len(widths))), np.float32)
    given: np.ndarray = weights

    def whole(rows: np.ndarray, epoch: int) -> Batch:
        return gather(rows, epoch), targets[rows], given[rows]

    return Data(len(targets), whole, given, lengths, widths)


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(examples,) of class numbers → (examples, num_classes), float32."""
    distributions: np.ndarray = np.eye(num_classes, dtype="float32")[labels]
    return distributions


# So many batches are sorted by length together: order stays random, and little is padding.
WINDOW = 50


def batches(
    order: np.ndarray,
    batch_size: int,
    lengths: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, weights) of each batch: as few batches as can be, all of one size.

    A last batch that is smaller would make the backend compile everything a second time. So the
    batches are made as even as they can be, and where one is a row short, a row is repeated
    with weight 0, and the others weigh as much more: the loss is the mean over the real rows.
    Where several devices share a batch, each gets as many.

    Args:
        lengths: of each row; batches are then of rows that are about as long as each other.
        rng: puts those batches into a random order.
    """
    count = -(-len(order) // batch_size)
    devices = distribution.replicas()
    size = -(-len(order) // (count * devices)) * devices
    if lengths is not None:
        windows = np.split(order, range(WINDOW * size, len(order), WINDOW * size))
        order = np.concatenate([w[np.argsort(lengths[w], kind="stable")] for w in windows])
    parts = np.array_split(order, count)
    if lengths is not None and rng is not None:
        parts = [parts[i] for i in rng.permutation(count)]
    for rows in parts:
        weights = np.full(size, size / len(rows), np.float32)
        weights[len(rows) :] = 0.0
        yield np.resize(rows, size), weights


def part_of(
    data: Data, rows: np.ndarray, weights: np.ndarray, epoch: int, *, whole: bool = False
) -> Batch:
    """A batch: this host's part of it, or all.

    Args:
        rows: and `weights`, (batch,): of the batch, on all hosts the same.
    """
    if not whole and data.lengths is None:
        rows, weights = distribution.part((rows, weights))
        whole = True
    inputs, targets, own = data.gather(rows, epoch)
    batch: Batch = inputs, targets, own * weights[:, None]
    # Parts of what is ragged must be padded alike, so they are parts of one whole.
    part: Batch = batch if whole else distribution.part(batch)
    return part


@dataclass(frozen=True)
class Mixup:
    """MixUp (Zhang et al. 2018, arXiv:1710.09412) on a model's inputs, whatever they are.

    Attributes:
        alpha: of the distribution of shares, Beta(alpha, alpha); 0 for none.
        alike: a row is mixed with one that has the same targets, which mixing then leaves alone.
    """

    alpha: float = 0.0
    alike: bool = False


def mix(batch: Batch, mixup: Mixup, rng: np.random.Generator, widths: tuple[int, ...]) -> Batch:
    """Each row of a batch mixed with another row, by one share that is drawn for the batch.

    Each target brings its own row's weight: the loss is linear in the targets.

    Args:
        widths: see `Data`.
    """
    inputs, targets, weights = batch
    share = np.float32(rng.beta(mixup.alpha, mixup.alpha))
    other = _alike(targets, rng) if mixup.alike else rng.permutation(len(weights))

    def mixed(array: np.ndarray) -> np.ndarray:
        result: np.ndarray = share * array + (1 - share) * array[other]
        return result

    def mixed_inputs(array: np.ndarray) -> np.ndarray:
        if np.issubdtype(array.dtype, np.floating):
            return mixed(array)
        if array.max(initial=0) > 1:
            raise Mistake("mixup must be 0 where tokens are trained on, which cannot be mixed")
        result: np.ndarray = np.maximum(array, array[other])  # A mask covers both.
        return result

    columns = np.repeat(weights, widths or (targets.shape[1],), axis=1)
    answers = mixed(columns * targets) / np.maximum(mixed(columns), 1e-9)
    return keras.tree.map_structure(mixed_inputs, inputs), answers, mixed(weights)


def _alike(targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(rows,): for each a row with the same targets; itself where there is no other."""
    _, kinds = np.unique(targets, axis=0, return_inverse=True)
    found = np.arange(len(targets))
    for kind in range(kinds.max(initial=-1) + 1):
        rows = rng.permutation(np.flatnonzero(kinds.reshape(-1) == kind))
        found[rows] = np.roll(rows, 1)
    return found
