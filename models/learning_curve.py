"""What a linear head would be like with fewer examples, and so what it may be like with more."""

from __future__ import annotations

import math

import numpy as np

from models import strata
from models.designs import Dense
from models.linear import MANY, Question, solve


def said_with(
    coordinates: np.ndarray,
    question: Question,
    folds: np.ndarray,
    strength: float,
    parts: int,
    *,
    part: int = 0,
    tolerance: float = 1e-4,
) -> tuple[np.ndarray, np.ndarray]:
    """What heads fitted to a part of the others say of examples that they have not seen.

    Args:
        coordinates: (examples, coordinates) of all.
        folds: (examples,), the number of the fold that each is in.
        strength: of the ridge, for all of the others; of fewer it is more.
        parts: into how many the others are dealt, and which `part` of them is learned from.

    Returns:
        (rows,), which examples were asked about, and (rows, outputs). Of many outputs, for which
        it takes long, only those of the first fold.
    """
    asked, said = [], []
    known = np.unique(folds) if question.targets.shape[1] <= MANY else folds[:1]
    for fold in known:
        others, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        inside = others[strata.folds([question.targets[others]], parts) == part]
        fit = solve(
            Dense.of(coordinates[inside]),
            question.of(inside),
            strength * len(others) / len(inside),
            tolerance=tolerance,
        )
        asked.append(outside)
        said.append(fit(coordinates[outside]))
    return np.concatenate(asked), np.concatenate(said)


def gain_of_twice(half: float, whole: float, times: float = 1.0) -> float:
    """What an error, such as a share of wrong answers, would fall by with twice as many examples.

    By a power law through two points: Hestness et al. 2017 (arXiv:1712.00409), who find that error
    falls as a power of the number of examples. 0 where it did not fall.

    Args:
        half: the error with half as many examples as that which is `whole`.
        times: how many times as many as that there are in all.
    """
    if not 0 < whole < half:
        return 0.0
    power = math.log2(half / whole)
    return float(whole * (times**-power - (2 * times) ** -power))
