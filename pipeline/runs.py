"""Interpreters of the flow: one executes it, one traces it to say what would run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from components.activations import Damaged
from components.artifacts import Artifact
from components.files import read_json
from components.job import Job
from pipeline.console import Log
from pipeline.flow import Outcome, Run
from pipeline.processes import do_apart
from pipeline.runtime import Runtime
from pipeline.store import ARTIFACT, Absent, Call, Store

P = ParamSpec("P")
A = TypeVar("A")


@dataclass(frozen=True)
class Step:
    """A stage in a run. `seconds` are those of this run, so nearly none where it was reused."""

    name: str
    status: str
    seconds: float
    artifact: str
    stats: dict[str, Any]
    why: str = ""


@dataclass(frozen=True)
class Executor:
    """Runs each stage, or reuses its artifact if the store has it.

    Attributes:
        announce: tells other hosts of a stage that is computed together; see `helping.leading`.
    """

    store: Store
    runtime: Runtime
    console: Log
    steps: list[Step]
    announce: Callable[[Call], None] | None = None
    prefix: str = ""

    def under(self, name: str) -> Run:
        return replace(self, prefix=f"{name}.")

    def __call__(
        self, stage: Callable[Concatenate[Job, P], A], *args: P.args, **kwargs: P.kwargs
    ) -> A:
        call = Call.of(stage, args, kwargs)
        name = self.prefix + call.stage
        started = time.monotonic()
        artifact: Any = None if self._again(call) else self.store.find(call)
        status = "reused" if artifact else "ran"
        if artifact is None:
            self.console.begin(name)
            artifact = self._execute(call, stage, args, kwargs)
        if artifact.stats.get("skipped"):
            status = "skipped"
        seconds = time.monotonic() - started
        step = Step(name, status, round(seconds, 3), str(artifact.directory), artifact.stats)
        self.steps.append(step)
        self.console.end(name, status, seconds, artifact.stats)
        return cast(A, artifact)

    def _again(self, call: Call) -> bool:
        """With --fresh every stage runs, but once: a branch may call the same one twice."""
        done = str(self.store.directory(call))
        return self.runtime.fresh and all(step.artifact != done for step in self.steps)

    def _execute(
        self, call: Call, stage: Callable[..., A], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Artifact:
        directory = self.store.begin(call, fresh=self.runtime.fresh)
        job = Job(
            directory=directory,
            activations=self.store.activations,
            scratch=self.store.scratch(call),
            progress=self.console.progress,
            beam=self.runtime.beam,
            **({} if self.runtime.fresh else {"earlier": partial(self.store.earlier, call)}),
        )
        work = self.runtime.work(stage, args, kwargs, job)
        if work.together and self.announce:
            self.announce(call)
        started = time.monotonic()
        try:
            artifact = do_apart(work) if self.runtime.is_apart(work) else work.do()
        except Exception:
            self.store.abandon(call)
            raise
        return self.store.commit(call, artifact, time.monotonic() - started)


def execute(walk: Callable[[], Outcome], console: Log, done: list[Any]) -> Outcome:
    """Walk the flow; where stored activations prove damaged, say so and make them again.

    Args:
        done: what is known of the walk so far, which is then to be forgotten.
    """
    while True:
        try:
            return walk()
        except Damaged as damaged:
            console.stop()
            console.say(str(damaged))
            done.clear()


@dataclass(frozen=True)
class Planner:
    """Says of each stage whether it would be reused, and if not, why; computes nothing."""

    store: Store
    fresh: bool
    steps: list[Step]
    prefix: str = ""

    def under(self, name: str) -> Run:
        return replace(self, prefix=f"{name}.")

    def __call__(
        self, stage: Callable[Concatenate[Job, P], A], *args: P.args, **kwargs: P.kwargs
    ) -> A:
        call = Call.of(stage, args, kwargs)
        name = self.prefix + call.stage
        artifact: Any = None if self.fresh else self.store.find(call)
        if artifact is None:
            self.steps.append(Step(name, "would run", 0.0, "", {}, self._why(call)))
            return cast(A, Absent())
        self.steps.append(Step(name, "reused", 0.0, str(artifact.directory), artifact.stats))
        return cast(A, artifact)

    def _why(self, call: Call) -> str:
        """What differs from the last time this stage ran."""
        if self.fresh:
            return "--fresh"
        inputs = call.inputs.values()
        if any(
            isinstance(value, dict) and value.get("digest") == Absent.digest for value in inputs
        ):
            return "an earlier stage runs"
        made = list((self.store.root / call.stage).glob(f"*/{ARTIFACT}"))
        if not made:
            return "never run"
        last = read_json(max(made, key=lambda path: path.stat().st_mtime))["inputs"]
        return ", ".join(_differences(last, call.inputs)) or "its result is gone"


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The paths of what changed between two inputs' records, with the values of plain ones."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted(old.keys() | new.keys()):
            path = name if key == "digest" else f"{name}.{key}".lstrip(".")
            found += _differences(old.get(key), new.get(key), path)
        return found
    old, new = (list(v) if isinstance(v, tuple) else v for v in (old, new))
    if old == new:
        return []
    plain = all(not isinstance(v, str) or len(v) < 40 for v in (old, new))
    return [f"{name}: {old} → {new}" if plain else f"{name} changed"]


def print_plan(steps: list[Step]) -> None:
    """The plan as lines on standard output."""
    width = max(len(step.name) for step in steps)
    for step in steps:
        why = f"  ({step.why})" if step.why else ""
        sys.stdout.write(f"{step.name:<{width}}  {step.status}{why}\n")
