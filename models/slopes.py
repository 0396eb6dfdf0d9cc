"""The losses of `objectives` for a solver that needs no backend: NumPy, each with its slope.

A test holds each to its twin there, and its slope to that of the backend.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# (truth, said), (examples, outputs) each → the loss of each example, and its slope in `said`.
Slope = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
# Keras's: no probability is nearer to 0 or 1.
_NEAREST = 1e-7


def classification(*, label_smoothing: float = 0.0, focal_gamma: float = 0.0) -> Slope:
    """The twin of `objectives.classification`."""

    def slope(truth: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        smooth = truth * (1.0 - label_smoothing) + label_smoothing / truth.shape[1]
        said = np.clip(said, _NEAREST, 1.0 - _NEAREST)
        focus, turn = _focus(said, focal_gamma)
        logs = np.log(said)
        losses = -(smooth * focus * logs).sum(axis=1)
        return losses, -smooth * (focus / said + turn * logs)

    return slope


def multi_label(
    *,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    positive_weights: np.ndarray | None = None,
) -> Slope:
    """The twin of `objectives.multi_label`."""

    def slope(truth: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        smooth = truth * (1.0 - label_smoothing) + 0.5 * label_smoothing
        said = np.clip(said, _NEAREST, 1.0 - _NEAREST)
        there = smooth if positive_weights is None else smooth * positive_weights
        focus, turn = _focus(said, focal_gamma)
        away, back = _focus(1.0 - said, focal_gamma)
        yes, no = np.log(said), np.log1p(-said)
        losses = -(there * focus * yes + (1.0 - smooth) * away * no).mean(axis=1)
        up = -there * (focus / said + turn * yes)
        down = (1.0 - smooth) * (away / (1.0 - said) + back * no)
        return losses, (up + down) / truth.shape[1]

    return slope


def squared(truth: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `objectives.squared`."""
    apart = said - truth
    return np.square(apart).mean(axis=1), 2.0 * apart / truth.shape[1]


def huber(delta: float) -> Slope:
    """The twin of `objectives.huber`."""

    def slope(truth: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        apart = said - truth
        near = np.clip(apart, -delta, delta)
        losses = (near * (apart - 0.5 * near)).mean(axis=1)
        return losses, near / truth.shape[1]

    return slope


def _focus(said: np.ndarray, gamma: float) -> tuple[np.ndarray | float, np.ndarray | float]:
    """How much less counts what is right already, and the slope of that."""
    if not gamma:
        return 1.0, 0.0
    return (1.0 - said) ** gamma, -gamma * (1.0 - said) ** (gamma - 1.0)
