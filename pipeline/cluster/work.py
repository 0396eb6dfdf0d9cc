"""What a task of a cluster does: it begins a run, or computes one stage of it.

```
STORE/runs/RUN_ID/
    request.json    what was asked for, and what was resolved when the run began
    STAGE.json      what became of each stage
```
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from components.files import read_json, write_json
from pipeline.config import Config
from pipeline.console import open_log
from pipeline.flow import Outside, flow
from pipeline.interpreters.base import Interpreter, Invocation
from pipeline.interpreters.execute import Executor, execute
from pipeline.interpreters.trace import needed_for, trace
from pipeline.records import RunRecord, Step
from pipeline.runtime import Runtime
from pipeline.session import Session, begin, runtime_of
from pipeline.stopping import deadline
from pipeline.store import Absent, Store

_OUTSIDE = TypeAdapter(Outside)
# Listed again by the task that reads it: it may be as long as the data.
_LISTINGS = {"source": {"listing"}, "pretrain_source": {"listing"}}


class Asked(BaseModel):
    """What a run on a cluster was asked for; the content of `request.json` but the outside."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    config: Config
    serving_dir: Path | None
    fresh: bool


def begin_run(store_path: str, asked: str) -> str:
    """Resolve everything outside and write it down; returns the run's id.

    Args:
        asked: `Asked`, as JSON.
    """
    request, store = Asked.model_validate_json(asked), Store(Path(store_path))
    with store.lock(shared=True):
        session = begin(request.recipe, request.config, _runtime(request, store), store, host="")
        run_id = session.record.run_id
        directory = store.runs / run_id
        directory.mkdir()
        outside = _OUTSIDE.dump_python(session.outside, mode="json", exclude=_LISTINGS)
        write_json(
            directory / "request.json",
            {"asked": request.model_dump(mode="json"), "outside": outside},
        )
    return run_id


def run_stage(store_path: str, run_id: str, name: str) -> str:
    """Compute the stage called `name` of a run, and what is missing of what it needs.

    The last stage of a run records what became of it.

    Returns:
        The stage's artifact, relative to the store; empty where this run has no such stage.
    """
    store = Store(Path(store_path))
    directory = store.runs / run_id
    written = read_json(directory / "request.json")
    asked = Asked.model_validate(written["asked"])
    record = RunRecord.model_validate(read_json(store.runs / f"{run_id}.json"))
    session = Session(store, record, _OUTSIDE.validate_python(written["outside"]))
    steps: list[Step] = []
    executor = Executor(store, _runtime(asked, store), open_log("text"), steps)
    nodes = trace(asked.config)
    some = _Some(executor, name, needed_for(name, nodes))
    with store.lock(shared=True), deadline(asked.config.runtime.deadline):
        try:
            outcome = execute(
                lambda: flow(some, asked.config, session.outside), executor.console, steps
            )
        except Exception as error:
            session.fail(record.age(), f"failed: {error}", steps)
            raise
        for step in steps:
            write_json(directory / f"{step.name}.json", asdict(step))
        if name == list(nodes)[-1]:
            paths = [directory / f"{node}.json" for node in nodes]
            done = [Step(**read_json(path)) for path in paths if path.exists()]
            session.end(asked.config, record.age(), outcome, done)
    made = {step.name: step.artifact for step in steps}.get(name)
    return Path(made).relative_to(store.root).as_posix() if made else ""


@dataclass(frozen=True)
class _Some(Interpreter):
    """Runs one stage, and what is missing of what it needs; the rest is for other tasks."""

    executor: Executor
    name: str
    needed: set[str]

    def interpret(self, asked: Invocation) -> Any:
        call, name = asked.call, asked.name
        artifact: Any = None if name == self.name else self.executor.store.find(call)
        if artifact is None and name in {self.name, *self.needed}:
            with self.executor.store.alone(call):
                return self.executor.interpret(asked)
        return artifact or Absent(call.fingerprint)


def _runtime(asked: Asked, store: Store) -> Runtime:
    return runtime_of(
        asked.config,
        store,
        asked.serving_dir,
        asked.recipe,
        fresh=asked.fresh,
    )
