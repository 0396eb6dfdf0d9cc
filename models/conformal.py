"""Sets of answers that hold the truth as often as they promise: split conformal prediction.

Vovk, Gammerman & Shafer 2005; Sadinle, Lei & Wasserman 2019 (arXiv:1609.00451) for labels (LAC,
the least ambiguous sets), Lei et al. 2018 (arXiv:1604.04173) for numbers. What is promised holds
for examples that are like those that it was found on, whatever the model is.
"""

from __future__ import annotations

import math

import numpy as np


def quantile(scores: np.ndarray, coverage: float) -> float:
    """What the score of another such example does not exceed, in `coverage` of cases.

    Args:
        scores: (examples,), how badly the truth fits what is said, by a model that was not fitted
            to them.

    Returns:
        The ⌈(n + 1) coverage⌉-th smallest; infinite where there are too few to promise that.
    """
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if rank > len(scores):
        return math.inf
    return float(np.sort(scores)[max(rank, 1) - 1])


def reach_of_classes(probabilities: np.ndarray, truth: np.ndarray, coverage: float) -> float:
    """How much less than 1 the probability of a label in the set may be; 1 for all labels.

    Args:
        probabilities: (examples, classes), not calibrated: they are compared across examples as
            they are.
        truth: (examples,), numbers of classes.
    """
    scores = 1.0 - np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    return min(1.0, quantile(scores, coverage))


def reach_of_numbers(errors: np.ndarray, coverage: float) -> float:
    """How far from what is said the interval reaches, by (examples,) of errors."""
    return quantile(np.abs(errors), coverage)
