"""What goes wrong in training while it goes on, as a sentence with what to do about it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.updates import HEAD, LORA

# Validation loss so many times the least so far, and above the one before training, is none that
# wavers.
_DIVERGED = 3.0
# Epochs in which training loss falls and validation loss stays so much above its best.
_OVERFIT_EPOCHS, _OVERFIT = 5, 1.2
# Epochs in which validation loss changes by less than this share of it.
_FLAT_EPOCHS, _FLAT = 5, 1e-3
# A step that moves weights by more than this share of their norm, ten times what is usual, is
# more than what was pretrained survives.
_LARGE_UPDATE = 1e-2


@dataclass(frozen=True)
class Alert:
    """Something that a person would want to know at once.

    Attributes:
        kind: not_finite, diverges, overfits, flat or large_updates.
        message: what is seen, and what helps, as a sentence.
    """

    kind: str
    message: str


class Alerts:
    """Looks at a phase of training; each kind is told once.

    Args:
        section: of the config, such as `fine_tune`, for what is said.
    """

    def __init__(self, section: str) -> None:
        self._section = section
        self._told: set[str] = set()
        self._before = math.inf
        # Of the epochs so far: how many, the best one, whether training loss falls since then, …
        self._count, self._best, self._best_epoch, self._falls = 0, math.inf, 0, True
        # … the last one's training loss, and the last losses of validation.
        self._training = math.inf
        self._last: deque[float] = deque(maxlen=_FLAT_EPOCHS + 1)

    def begin(self, before: Mapping[str, float]) -> None:
        """The figures of validation before the first epoch."""
        self._before = before["val_loss"]

    def of_batch(self, step: int, loss: float) -> list[Alert]:
        """Of the loss of a step, from 1."""
        if math.isfinite(loss):
            return []
        return self._new(
            Alert(
                "not_finite",
                f"the loss of step {step} is {loss}: {self._section}.learning_rate is too high, or "
                f"an input is not finite",
            )
        )

    def of_epoch(self, row: Mapping[str, float], ratios: Mapping[str, float]) -> list[Alert]:
        """Of the figures of an epoch, and how large its last update was, group by group."""
        self._count += 1
        self._last.append(row["val_loss"])
        if row["val_loss"] < self._best:
            self._best, self._best_epoch, self._falls = row["val_loss"], self._count, True
        else:
            self._falls = self._falls and row["loss"] < self._training
        self._training = row["loss"]
        return self._new(*self._of_losses(), *self._of_updates(ratios))

    def _of_losses(self) -> Iterator[Alert]:
        count, now, best, last = self._count, self._last[-1], self._best, [*self._last]
        if not math.isfinite(now):
            yield Alert(
                "not_finite",
                f"validation loss is {now} after epoch {count}: {self._section}.learning_rate is "
                f"too high",
            )
            return
        # A loss may be 0, or below, and then no loss is so many times as large.
        if now > _DIVERGED * best > 0 and now > self._before:
            yield Alert(
                "diverges",
                f"validation loss is {now:.4f} after epoch {count}, {now / best:.1f} times its "
                f"best and above the {self._before:.4f} before training: a lower "
                f"{self._section}.learning_rate helps",
            )
        above = all(loss > _OVERFIT * best > 0 for loss in last[-_OVERFIT_EPOCHS:])
        if count - self._best_epoch >= _OVERFIT_EPOCHS and self._falls and above:
            yield Alert(
                "overfits",
                f"training loss falls and validation loss is {now / best - 1:.0%} above its best "
                f"of epoch {self._best_epoch}: it begins to learn the examples by "
                f"heart; fewer epochs, more views, or less that is unfrozen",
            )
        if len(last) > _FLAT_EPOCHS and max(last) - min(last) < _FLAT * abs(now):
            yield Alert(
                "flat",
                f"validation loss has changed by less than {_FLAT:.1%} in {_FLAT_EPOCHS} epochs: "
                f"a higher {self._section}.learning_rate, or fewer epochs",
            )

    def _of_updates(self, ratios: Mapping[str, float]) -> Iterator[Alert]:
        """Only of what was pretrained: what is new may learn fast."""
        known = {group: ratio for group, ratio in ratios.items() if group not in (HEAD, LORA)}
        if not known:
            return
        group = max(known, key=lambda name: known[name])
        if known[group] > _LARGE_UPDATE:
            yield Alert(
                "large_updates",
                f"a step moves {group} by {known[group]:.1%} of its weights, and 0.1% is usual: "
                f"what was pretrained is being lost; a lower {self._section}.learning_rate, or a "
                f"head that is trained for longer",
            )

    def _new(self, *found: Alert) -> list[Alert]:
        fresh = [alert for alert in found if alert.kind not in self._told]
        self._told |= {alert.kind for alert in fresh}
        return fresh
