"""LogME: how probable targets are, given features and any linear head (You et al. 2021).

"LogME: Practical Assessment of Pre-trained Models for Transfer Learning", arXiv:2102.11005: the
evidence of Bayesian linear regression, its two precisions found by fixed-point iteration; the
faster form of its successor (arXiv:2110.10545), which needs one decomposition for all outputs.
"""

from __future__ import annotations

import numpy as np
from etils import epy

with epy.lazy_imports():
    import scipy.linalg

_ROUNDS, _TOLERANCE = 100, 1e-4
_LEAST = 1e-10


def logme(coordinates: np.ndarray, targets: np.ndarray) -> float:
    """The mean over outputs and examples of the logarithm of the evidence; more is better.

    Args:
        coordinates: (examples, coordinates) of features, standardized.
        targets: (examples, outputs), standardized or 0 and 1.
    """
    left, singular, _ = scipy.linalg.svd(
        np.asarray(coordinates, np.float64), full_matrices=False, check_finite=False
    )
    return float(np.mean([_evidence(left, singular**2, column) for column in targets.T]))


def _evidence(left: np.ndarray, squares: np.ndarray, target: np.ndarray) -> float:
    """Of one output, per example."""
    count, rank = len(target), len(squares)
    along = np.square(left.T @ target)
    beyond = max(float(target @ target) - float(along.sum()), 0.0)
    alpha = beta = 1.0
    for _ in range(_ROUNDS):
        ratio = alpha / beta
        kept = squares / (squares + ratio)
        gamma = float(kept.sum())
        weight = float((squares * along / np.square(squares + ratio)).sum())
        error = float((along * np.square(ratio / (squares + ratio))).sum()) + beyond
        alpha_next = gamma / max(weight, _LEAST)
        beta = (count - gamma) / max(error, _LEAST)
        done = abs(alpha_next / beta - ratio) <= _TOLERANCE * ratio
        alpha = alpha_next
        if done:
            break
    ratio = alpha / beta
    weight = float((squares * along / np.square(squares + ratio)).sum())
    error = float((along * np.square(ratio / (squares + ratio))).sum()) + beyond
    evidence = (
        rank * np.log(alpha)
        + count * np.log(beta)
        - np.log(alpha + beta * squares).sum()
        - beta * error
        - alpha * weight
        - count * np.log(2 * np.pi)
    ) / 2
    return float(evidence) / count
