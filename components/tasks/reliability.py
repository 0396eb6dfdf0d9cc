"""How far probabilities and prediction sets can be relied on, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.tasks.figures import CONFIDENCE
from components.tasks.protocol import Space
from models import calibration, intervals

# Of more examples than this, the ECE by chance is next to nothing, and takes long to find.
_MOST = 20_000


def reliability(
    confidence: np.ndarray,
    right: np.ndarray,
    *,
    loss: float,
    loss_before: float,
    brier: float,
    before: np.ndarray,
) -> dict[str, Any]:
    """
    Args:
        confidence: (answers,), the probability of each answer; `before`, without temperatures.
        right: (answers,), whether each is.
        loss: -log of the probability of what is so, its mean; `loss_before`, without temperatures.
    """
    by_chance, most = calibration.least_error(confidence[:_MOST])
    return {
        "bins": calibration.bins(confidence, right),
        "ece": calibration.expected_error(confidence, right),
        "ece_before": calibration.expected_error(before, right),
        "ece_by_chance": by_chance,
        "ece_by_chance_most": most,
        "log_loss": loss,
        "log_loss_before": loss_before,
        "brier": brier,
    }


def sets(model: Space, held: Sequence[bool], widths: Sequence[float]) -> dict[str, Any] | None:
    """How often prediction sets hold the truth, and how wide they are; None where there are none.

    Args:
        model: the space of what the model says, with what its sets promise.
        held: (examples,), whether each set holds the truth.
        widths: (examples,), how many labels are in it, or how wide the interval is.
    """
    if not model.coverage or not held:
        return None
    low, high = intervals.of_share(sum(held), len(held), CONFIDENCE)
    wide = np.array(widths)
    of_labels = {"alone": float(np.mean(wide == 1)), "empty": float(np.mean(wide == 0))}
    return {
        "promised": model.coverage,
        "count": len(held),
        "held": float(np.mean(held)),
        "low": low,
        "high": high,
        "width": float(np.mean(wide)),
        **(of_labels if model.labels else {}),
    }
