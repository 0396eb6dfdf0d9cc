"""Figures with their intervals, of one model, and of what differs between two."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.tasks.protocol import Figure, Tally
from models import intervals as computed
from models.intervals import Interval

# Of every interval that is told; `bless.confidence` is that of what is decided.
CONFIDENCE = 0.95
# Differences of shares up to this, or of other figures up to this share, are none to speak of.
NEGLIGIBLE = 0.01

Verdict = Literal["better", "worse", "the same", "cannot tell"]


class Comparison(BaseModel):
    """A figure of two models on the very same examples.

    Attributes:
        name: of the figure, its target's name before it.
        count: how many examples it is on.
        value: this model's, …
        other: … and the other one's.
        low: value - other is from here …
        high: … to here.
        rival: what the other model is: `blessed`, `control` or `shortcut`.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    count: int
    value: float
    other: float
    low: float
    high: float
    rival: str = ""

    @property
    def change(self) -> float:
        return self.value - self.other

    def gain(self, figure: Figure) -> Interval:
        """The interval of the difference as `Figure.gain` has it."""
        low, high = sorted(figure.gain(end, self.other) for end in (self.low, self.high))
        return low, high

    def verdict(self, figure: Figure) -> Verdict:
        """Of this model: better or worse beyond chance; the same, if it may differ by little."""
        low, high = self.gain(figure)
        if low > 0 or high < 0:
            return "better" if low > 0 else "worse"
        return "the same" if max(-low, high) <= NEGLIGIBLE else "cannot tell"

    def telling(self) -> int | None:
        """How many examples would tell, if the difference is as great as it seems.

        None where that is more than a hundred times as many.
        """
        wide = (self.high - self.low) / 2
        if abs(self.change) * 10 < wide:
            return None
        return round(self.count * (wide / abs(self.change)) ** 2)


def intervals(tally: Tally, confidence: float = CONFIDENCE) -> dict[str, Interval]:
    """Of each figure."""
    drawn = computed.bootstrapped(tally.figures, tally.count, tally.strata, width=tally.width)
    once = tally.once()
    found = {name: computed.of_draws(drawn[name], once[name], confidence) for name in once}
    for name, right in tally.shares.items():
        found[name] = computed.of_share(int(right.sum()), tally.count, confidence)
    for name, right in tally.least_shares.items():
        found[name] = computed.of_least_share(right, tally.strata, confidence)
    return found


def differences(
    this: Tally, other: Tally, confidence: float = CONFIDENCE
) -> dict[str, tuple[float, float, Interval]]:
    """Each figure of both → (this one's, the other's, the interval of this - other).

    Args:
        this: of the same examples, in the same order, as `other`.
    """

    def both(draws: np.ndarray) -> dict[str, np.ndarray]:
        ours, theirs = this.figures(draws), other.figures(draws)
        return {name: ours[name] - theirs[name] for name in ours}

    drawn = computed.bootstrapped(both, this.count, this.strata, width=2 * this.width)
    values, others = this.once(), other.once()
    found = {
        name: (value, other, computed.of_draws(drawn[name], value - other, confidence))
        for (name, value), other in zip(values.items(), others.values(), strict=True)
    }
    for name, right in this.shares.items():
        only, lacking = right & ~other.shares[name], other.shares[name] & ~right
        apart = computed.of_difference(int(only.sum()), int(lacking.sum()), this.count, confidence)
        found[name] = (values[name], others[name], apart)
    return found
