"""What is told of a phase of training while it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from components.job import Job
from components.training.alerts import Alert, Alerts
from components.training.board import VALIDATION
from models.updates import UpdateRatios

# So often a phase tells of its steps, looks whether it is to end, and tells of their loss.
_STEPS_SECONDS = 0.2
_LOSS_SECONDS = 0.5
# To measure the size of an update may take so much of the time.
_SHARE = 0.005


class Shown:
    """Steps within epochs, figures, and what goes wrong.

    Args:
        name: of the phase.
        stopping: how long it may be, and what early stopping looks at; see `Phase`.
        updates: of the weights that are trained.
        alerts: of this phase.
    """

    def __init__(
        self,
        job: Job,
        name: str,
        stopping: Mapping[str, Any],
        updates: UpdateRatios,
        alerts: Alerts,
    ) -> None:
        self._job, self._name, self._stopping = job, name, stopping
        self._updates, self._alerts = updates, alerts
        self._epochs: int = stopping["epochs"]
        self._steps, self._note = 1, ""
        self._said = self._told = self._looked = 0.0
        self._losses: list[float] = []
        self._ratios: dict[str, float] = {}
        self._measured, self._free = 0.0, 0.0
        self.by_hand = False

    def begin(self, before: Mapping[str, float]) -> None:
        """The figures of validation before the first epoch are known."""
        self._alerts.begin(before)
        self._measure()
        self._job.tell("phase began", phase=self._name, **self._stopping, before=dict(before))

    def step(self, epoch: int, step: int, steps: int, loss: float) -> bool:
        """A step is done, of so many in the epoch; whether training is to end with it."""
        self._steps = steps
        self._losses.append(loss)
        done = epoch * steps + step
        self._alert(self._alerts.of_batch(done, loss))
        if step == steps:
            self._end_measuring()
        elif step == steps - 1:
            self._measure()
        now = time.monotonic()
        if now - self._told > _LOSS_SECONDS:
            self._tell_losses(done, now)
        if now - self._said > _STEPS_SECONDS:
            self._tell(epoch, step)
        if now - self._looked > _STEPS_SECONDS:
            self._looked = now
            self.by_hand = self.by_hand or self._job.is_to_end()
        return self.by_hand

    def end_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        figures = [
            f"{name.removeprefix(VALIDATION)} {value:.3f}"
            for name, value in logs.items()
            if name.startswith(VALIDATION)
        ]
        self._note = f"validation {', '.join(figures)}"
        self._tell(epoch, self._steps)
        ratios, self._ratios = self._ratios, {}
        self._job.tell("epoch", phase=self._name, epoch=epoch, figures=dict(logs), updates=ratios)
        self._alert(self._alerts.of_epoch(logs, ratios))
        if self._steps == 1:
            self._measure()

    def end(self, best_epoch: int) -> None:
        """The phase is done, with the weights of that epoch."""
        self._job.tell("phase ended", phase=self._name, best_epoch=best_epoch, by_hand=self.by_hand)

    def _measure(self) -> None:
        """Have the next step measured, where that does not cost too much."""
        began = time.monotonic()
        if began >= self._free:
            self._updates.before()
            self._measured = time.monotonic() - began

    def _end_measuring(self) -> None:
        began = time.monotonic()
        if ratios := self._updates.after():
            self._ratios = ratios
            now = time.monotonic()
            self._free = now + (self._measured + now - began) / _SHARE

    def _tell(self, epoch: int, step: int) -> None:
        self._said = time.monotonic()
        what = f"steps, epoch {epoch + 1} of {self._epochs}"
        done, total = epoch * self._steps + step, self._epochs * self._steps
        self._job.progress(what, done, total, self._note)

    def _tell_losses(self, done: int, now: float) -> None:
        """The mean of those since it was last told."""
        self._told = now
        mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        self._job.tell("steps", phase=self._name, done=done, of=self._steps, loss=mean)

    def _alert(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            self._job.tell(
                "alert",
                level="warning",
                phase=self._name,
                kind=alert.kind,
                message=alert.message,
            )
