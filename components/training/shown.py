"""How far a phase of training is, for who watches it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from components.job import Job
from components.training.board import VALIDATION

# So often a phase tells of its steps.
_STEPS_SECONDS = 0.2


class Shown:
    """Steps within epochs, and the last figures."""

    def __init__(self, job: Job, epochs: int) -> None:
        self._job, self._epochs = job, epochs
        self._steps, self._said, self._note = 1, 0.0, ""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """A step is done, of so many in the epoch."""
        self._steps = steps
        if time.monotonic() - self._said > _STEPS_SECONDS:
            self._tell(epoch, step)

    def end_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        figures = [
            f"{name.removeprefix(VALIDATION)} {value:.3f}"
            for name, value in logs.items()
            if name.startswith(VALIDATION)
        ]
        self._note = f"validation {', '.join(figures)}"
        self._tell(epoch, self._steps)

    def _tell(self, epoch: int, step: int) -> None:
        self._said = time.monotonic()
        what = f"steps, epoch {epoch + 1} of {self._epochs}"
        done, total = epoch * self._steps + step, self._epochs * self._steps
        self._job.progress(what, done, total, self._note)
