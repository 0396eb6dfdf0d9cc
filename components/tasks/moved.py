"""What becomes of figures as a threshold is moved, for the slider of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Thresholds 0, 0.01 … 1.
STEPS = 101


def answered(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """`answered` and `right`, a number for each threshold: of examples that are as sure as that.

    Args:
        confidence: (examples,) of probabilities.
        right: (examples,), whether what was given that is so.
    """
    return {"answered": _above(confidence), "right": _above(confidence[right])}


def of_labels(
    labels: Sequence[str], probabilities: np.ndarray, truth: np.ndarray
) -> dict[str, Any]:
    """Label → `said` and `right`, a number for each threshold, and `there`, how many have it.

    Args:
        probabilities: (examples, labels).
        truth: (examples, labels), whether each is there.
    """
    return {
        label: {
            "said": _above(probabilities[:, column]),
            "right": _above(probabilities[truth[:, column] > 0, column]),
            "there": int((truth[:, column] > 0).sum()),
        }
        for column, label in enumerate(labels)
    }


def _above(values: np.ndarray) -> list[int]:
    """How many are at least each threshold."""
    thresholds = np.linspace(0, 1, STEPS)
    below = np.searchsorted(np.sort(values), thresholds - 1e-9)
    return [len(values) - int(count) for count in below]
