"""Probabilities that are as often right as they say.

From outputs for examples that the model was not fitted to: NumPy, a moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from etils import epy

with epy.lazy_imports():
    import scipy.optimize

# A temperature → (examples,).
Losses = Callable[[float], np.ndarray]

# Temperatures that are tried.
_COLDEST, _HOTTEST = 0.1, 10.0
# So many standard errors are no chance.
_SURE = 2.0
# No probability is nearer to 0 or 1, as float32 has them.
_NEAREST = 1e-7
# Draws of what a model that is perfectly calibrated would show.
_DRAWS = 400


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """(examples, classes) at another temperature: logits divided by it (Guo et al. 2017).

    arXiv:1706.04599; the softmax of log-probabilities is that of the logits they came from.
    """
    if temperature == 1.0:
        return probabilities
    logs = np.log(np.maximum(probabilities, _NEAREST)) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return found


def scaled_each(probabilities: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """(examples, labels), each label of itself there or not, at temperatures (labels,)."""
    if np.all(temperatures == 1.0):
        return probabilities
    near = np.clip(probabilities, _NEAREST, 1 - _NEAREST)
    found: np.ndarray = 1 / (1 + np.exp((np.log1p(-near) - np.log(near)) / temperatures))
    return found


def temperature(of_truth: Losses, of_doubt: Losses, classes: int) -> float:
    """The temperature with the least loss; 1 where no other is surely better.

    The truth is smoothed as by Platt 1999, as if one more example had been of any class: where all
    of a few examples are right, no temperature is too cold otherwise.

    Args:
        of_truth: a temperature → (examples,) of -log of the right answer's probability.
        of_doubt: a temperature → (examples,) of the mean of that over all answers.
    """
    count = len(of_truth(1.0))
    doubt = classes / (count + classes)

    def smoothed(log: float) -> float:
        hot = math.exp(log)
        return float(np.mean((1 - doubt) * of_truth(hot) + doubt * of_doubt(hot)))

    bounds = math.log(_COLDEST), math.log(_HOTTEST)
    best = math.exp(
        float(scipy.optimize.minimize_scalar(smoothed, bounds=bounds, method="bounded").x)
    )
    fell = of_truth(1.0) - of_truth(best)
    if count < 2 or fell.mean() <= _SURE * fell.std(ddof=1) / math.sqrt(count):
        return 1.0
    return best


def temperature_of_classes(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """One for all classes.

    Args:
        probabilities: (examples, classes).
        truth: (examples,), numbers of classes.
    """

    def of_doubt(hot: float) -> np.ndarray:
        logs = np.log(np.maximum(scaled(probabilities, hot), _NEAREST))
        found: np.ndarray = -logs.mean(axis=1)
        return found

    return temperature(
        lambda hot: surprise(scaled(probabilities, hot), truth), of_doubt, probabilities.shape[1]
    )


def temperature_of_label(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Of one label that is there (1) or not (0): (examples,) each."""

    def at(hot: float) -> np.ndarray:
        return scaled_each(probabilities, np.array(hot))

    return temperature(
        lambda hot: surprise_each(at(hot), truth),
        lambda hot: (surprise_each(at(hot), truth) + surprise_each(at(hot), 1 - truth)) / 2,
        2,
    )


def surprise(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(examples,) of -log of the probability of the class with the number in `truth`."""
    right = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    found: np.ndarray = -np.log(np.maximum(right, _NEAREST))
    return found


def surprise_each(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(examples,) of the same, of one label that is there (1) or not (0)."""
    right = np.where(truth > 0.5, probabilities, 1 - probabilities)
    found: np.ndarray = -np.log(np.maximum(right, _NEAREST))
    return found


def bins(confidence: np.ndarray, right: np.ndarray, count: int = 10) -> list[dict[str, float]]:
    """How often those are right that are about as sure as each other: a reliability diagram.

    Args:
        confidence: (examples,) of probabilities.
        right: (examples,), whether what was given it is so.
    """
    at = np.minimum((confidence * count).astype(int), count - 1)
    return [
        {
            "count": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "right": float(right[inside].mean()),
        }
        for number in range(count)
        if (inside := at == number).any()
    ]


def expected_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """ECE (Naeini et al. 2015): how far shares of right answers are from probabilities."""
    rows = bins(confidence, right)
    total = sum(row["count"] for row in rows) or 1
    return sum(row["count"] * abs(row["confidence"] - row["right"]) for row in rows) / total


def least_error(confidence: np.ndarray) -> tuple[float, float]:
    """(mean, what 95 of 100 are below) of the ECE that a perfectly calibrated model has here."""
    rng = np.random.default_rng(0)
    drawn = [
        expected_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(_DRAWS)
    ]
    return float(np.mean(drawn)), float(np.quantile(drawn, 0.95))
