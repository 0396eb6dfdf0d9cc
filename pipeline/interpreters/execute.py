"""The interpreter of the flow that executes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from components.artifacts import Artifact, TrainedModel
from components.files import read_json
from components.frozen.activations import Damaged
from components.job import Job, Pruned, no_earlier
from pipeline.console import Log
from pipeline.interpreters.base import Interpreter, Invocation
from pipeline.processes import do_apart
from pipeline.records import Step, Watch
from pipeline.runtime import Runtime
from pipeline.store import Call, Store, artifacts_in

A = TypeVar("A")


@dataclass(frozen=True)
class Executor(Interpreter):
    """Runs each stage, or reuses its artifact if the store has it.

    Attributes:
        announce: tells other hosts of a stage that is computed together; see `help.leading`.
        watch: who keeps account of the run.
        epochs: told the phase, the number and the validation loss of each epoch that is trained;
            may raise `Pruned`.
    """

    store: Store
    runtime: Runtime
    console: Log
    steps: list[Step]
    announce: Callable[[Call], None] | None = None
    watch: Watch = field(default_factory=Watch)
    epochs: Callable[[str, int, float], None] | None = None

    def interpret(self, asked: Invocation) -> Any:
        call, name = asked.call, asked.name
        started = time.monotonic()
        artifact: Any = None if self._again(call) else self.store.find(call)
        status = "reused" if artifact else "ran"
        if artifact is None:
            self.console.begin(name)
            artifact = self._execute(asked)
        else:
            self._tell_again(artifact)
        if artifact.stats.get("skipped"):
            status = "skipped"
        seconds = time.monotonic() - started
        step = Step(
            name,
            status,
            round(seconds, 3),
            str(artifact.directory),
            artifact.stats,
            bytes=self.store.bytes_of(artifact) + artifact.bytes_elsewhere,
            written=self.store.bytes_of(artifact),
        )
        self.steps.append(step)
        self.console.end(step, artifact.shown, artifact.remarks if status == "ran" else ())
        self.watch.after(self.steps)
        return artifact

    def _tell(self, event: str, level: str = "info", **facts: Any) -> None:
        self.console.tell(event, level, **facts)
        if event == "epoch" and self.epochs:
            self.epochs(facts["phase"], facts["epoch"], facts["figures"]["val_loss"])

    def _tell_again(self, artifact: Artifact) -> None:
        """Whoever watches epochs hears of those that what is reused was trained for, too.

        A run that was killed after a stage was done would know less than one that was not.
        """
        history = artifact.directory / "history.json"
        if self.epochs and isinstance(artifact, TrainedModel) and history.exists():
            for epoch, row in enumerate(read_json(history)["epochs"]):
                self.epochs(artifact.phase, epoch, row["val_loss"])

    def _again(self, call: Call) -> bool:
        """With --fresh every stage runs, but once: a branch may call the same one twice."""
        done = str(self.store.directory(call))
        return self.runtime.fresh and all(step.artifact != done for step in self.steps)

    def _execute(self, asked: Invocation) -> Artifact:
        call = asked.call
        for given in artifacts_in([asked.args, asked.kwargs]):
            self.store.verify(given)
        directory = self.store.begin(call, fresh=self.runtime.fresh)
        self.watch.before(asked.name, directory, trains=asked.trains)
        job = Job(
            directory=directory,
            activations=self.store.activations,
            scratch=self.store.scratch(call),
            progress=self.console.progress,
            say=self.console.remark,
            tell=self._tell,
            end=self.watch.end_file(asked.name),
            beam=self.runtime.beam,
            earlier=no_earlier if self.runtime.fresh else partial(self.store.earlier, call),
        )
        work = self.runtime.work(asked.stage, asked.args, asked.kwargs, job)
        if work.together and self.announce:
            self.announce(call)
        started = time.monotonic()
        try:
            artifact = do_apart(work) if self.runtime.is_apart(work) else work.do()
        except Exception as error:
            self.watch.failed(asked.name, trains=asked.trains)
            self.store.abandon(call, wholly=isinstance(error, Pruned))
            raise
        return self.store.commit(call, artifact, time.monotonic() - started)


def execute(walk: Callable[[], A], console: Log, done: list[Any]) -> A:
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
