"""How far probabilities can be relied on, for the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import calibration

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
