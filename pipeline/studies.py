"""What is found out of a recipe's data without a run: parts of the flow, which leave no run behind.

Whatever they compute is in the store, where the next run finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components.artifacts import Suspects
from components.suspect import suspect
from components.tasks import more_labels
from components.tasks.more_labels import MoreLabels
from models.mistakes import Mistake
from pipeline.config import Config
from pipeline.console import Log
from pipeline.estimates import estimates
from pipeline.flow import Outside, Run, checked, frozen
from pipeline.interpreters.execute import Executor, execute
from pipeline.interpreters.plan import Planner
from pipeline.outside import Request, resolve
from pipeline.recipe import recipe_path
from pipeline.records import Step, last_of, past_runs
from pipeline.runtime import Runtime
from pipeline.session import requested, runtime_of
from pipeline.store import Store
from pipeline.working import at_work

A = TypeVar("A")


@dataclass(frozen=True)
class Study:
    """Where parts of the flow are executed."""

    recipe: str
    config: Config
    store: Store
    runtime: Runtime
    console: Log
    held: bool = False
    """The store is held already."""

    @classmethod
    def of(cls, recipe: str, config: Config, store: Path, console: Log) -> Study:
        name, opened = recipe_path(recipe).stem, Store(store)
        runtime = runtime_of(config, opened, None, name, fresh=False)
        if runtime.hosts.count > 1:
            raise Mistake("a study must be on one host: --runtime.distribution none")
        return cls(name, config, opened, runtime, console)

    def execute(self, part: Callable[[Run, Request, Outside], A], *, builds: bool = False) -> A:
        """Execute a part of the flow, given what there is outside; see `requested`."""
        say, config = self.console.say, self.config
        deadline = config.runtime.deadline
        held = nullcontext() if self.held else at_work(self.store, self.runtime.serving, deadline)
        with held:
            request = requested(config, self.store, say, builds=builds)
            earlier = past_runs(self.store.runs)
            outside = resolve(request, self.runtime, earlier, self.recipe, say=say)
            planned: list[Step] = []
            part(
                Planner(self.store, False, planned, last_of(earlier, self.recipe)), request, outside
            )
            self.console.open(self.recipe, planned, estimates(earlier, self.recipe))
            steps: list[Step] = []
            executor = Executor(self.store, self.runtime, self.console, steps)
            try:
                return execute(lambda: part(executor, request, outside), self.console, steps)
            finally:
                self.console.stop()


def questioned(run: Run, config: Config, outside: Outside) -> Suspects:
    """The data, questioned on what the frozen giant gives."""
    examples, checks = checked(run, config, outside)
    _, features = frozen(run, config, outside, examples, checks)
    return run(suspect, features, config.learning)


def learning_curve(study: Study) -> list[MoreLabels]:
    """What more labels would do to each figure that is watched."""

    def part(run: Run, _: Request, outside: Outside) -> Suspects:
        return questioned(run, study.config, outside)

    suspects = study.execute(part)
    if suspects.why_not:
        raise Mistake(f"a learning curve must have stored features, got none: {suspects.why_not}")
    found = list(more_labels.read(suspects.directory))
    if not found:
        raise Mistake(
            f"data.path must have more examples for a learning curve, got {suspects.questioned} to "
            f"train and to validate with"
        )
    return found
