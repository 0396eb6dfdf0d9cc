"""How the targets of a run are learned: what is minimized, and how much each counts."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from components.section import Section
from components.tasks.protocol import Target
from components.tasks.table import TASKS


class Learning(BaseModel):
    """What a run's config says of its targets: all that is read of it, and nothing more.

    Attributes:
        own: task → its section of the config; those of the targets' tasks alone.
        weights: target → how much its loss counts.
        by_uncertainty: the weights are learned instead: see `objectives.Objective`.
    """

    model_config = ConfigDict(frozen=True)

    own: dict[str, dict[str, Any]] = {}
    weights: dict[str, float] = {}
    by_uncertainty: bool = False

    @property
    def judged(self) -> Learning:
        """By whose loss models are compared, however each was trained; see `Task.judged`."""
        own = {
            name: TASKS[name].judged(TASKS[name].config(**given)).model_dump()
            for name, given in self.own.items()
        }
        return self.model_copy(update={"own": own})

    def section(self, target: Target) -> Section:
        """The section of the config that is its task's own."""
        return TASKS[target.task].config(**self.own.get(target.task, {}))
