"""Examples dealt so that every part has its share of each answer.

Stratified sampling and cross-validation: Kohavi 1995. Of 200 classes with a few examples each,
heads fitted to parts drawn at random have never heard of some that they are asked about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def folds(targets: Sequence[np.ndarray], count: int) -> np.ndarray:
    """(examples,): the number of the fold, of `count`, that each is in.

    Args:
        targets: (examples, outputs) of one or more targets.
    """
    order = _alike(targets)
    found = np.empty(len(order), int)
    found[order] = np.arange(len(order)) % count
    return found


def some(targets: Sequence[np.ndarray], count: int) -> np.ndarray:
    """(count,): that many rows, ascending, with the answers in the same proportions."""
    order = _alike(targets)
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
    return np.sort(chosen)


def _alike(targets: Sequence[np.ndarray]) -> np.ndarray:
    """The rows in an order in which those with about the same answers are beside each other."""
    keys = [_rarest(one) if one.shape[1] > 1 else one[:, 0] for one in targets]
    return np.lexsort(keys[::-1])


def _rarest(there: np.ndarray) -> np.ndarray:
    """(examples,): which of its labels is the rarest; one more than there are where it has none."""
    labelled = there > 0.5
    counts = np.where(labelled, labelled.sum(axis=0), np.inf)
    found: np.ndarray = np.where(labelled.any(axis=1), counts.argmin(axis=1), there.shape[1])
    return found
