"""One run from its beginning, where everything outside is resolved, to its record in the store."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import check_place
from components.job import silence
from components.tasks.table import main_figures
from models.mistakes import Mistake
from models.quiet import hide_gpus
from pipeline.boards import CURVES, Boards
from pipeline.checks import check_giant
from pipeline.config import Config
from pipeline.events import end_file
from pipeline.flow import Outcome, Outside
from pipeline.outside import WHERE, Request, resolve, resolve_request
from pipeline.processes import TENSORFLOW
from pipeline.records import STARTED, RunRecord, Step, Watch, new_run_id, past_runs
from pipeline.results import RunResult
from pipeline.runtime import Runtime, choose_backend, choose_hosts
from pipeline.showing import departures
from pipeline.store import Store


@dataclass(frozen=True)
class Session:
    """A run that has begun."""

    store: Store
    record: RunRecord
    outside: Outside

    @property
    def folder(self) -> Path:
        """What the run has besides its record."""
        return self.record.folder(self.store.runs)

    @property
    def boards(self) -> Boards:
        return Boards(self.store.root, self.record.run_id)

    def end(self, config: Config, seconds: float, outcome: Outcome, steps: list[Step]) -> RunResult:
        """Record what became of it."""
        known = {r.pushed for r in past_runs(self.store.runs) if r.finished}
        found = result(self.record, seconds, steps, outcome, known)
        self.save(
            steps,
            outcome=found.outcome,
            seconds=round(seconds, 3),
            figures=_main(outcome),
            pushed=str(found.pushed) if found.pushed else None,
            report=str(found.report),
        )
        if all(step.status != "ran" for step in steps):
            self.boards.discard()
        else:
            for step in steps:  # Those of a cluster's tasks, too.
                self.link(step.name, Path(step.artifact))
            settings = departures(config)
            what = {k: v for k, v in settings.items() if k.partition(".")[0] not in WHERE}
            self.boards.write(what, outcome.evaluation.figures)
        return found

    def link(self, name: str, artifact: Path) -> None:
        """Show the curves of a stage, where it has any."""
        if (artifact / CURVES).is_dir():
            self.boards.link(name, artifact)
        else:  # Nothing was trained.
            self.boards.unlink(name)

    def fail(self, seconds: float, why: str, steps: list[Step]) -> None:
        """Record that it did not end: `stopped`, or `failed: ` and the reason."""
        self.save(steps, outcome=why, seconds=round(seconds, 3))
        self.boards.abort(why.partition(":")[0])

    def save(self, steps: list[Step], **changes: Any) -> None:
        stages = [step.row for step in steps]
        self.record.model_copy(update={"stages": stages, **changes}).save(self.store.runs)


@dataclass(frozen=True)
class Account(Watch):
    """Keeps the record and the boards of a run while it goes on."""

    session: Session

    def before(self, name: str, directory: Path, *, trains: bool) -> None:
        if trains:
            self.session.boards.link(name, directory)

    def failed(self, name: str, *, trains: bool) -> None:
        if trains:
            self.session.boards.keep(name)

    def end_file(self, name: str) -> Path | None:
        return end_file(self.session.folder, name)

    def after(self, steps: list[Step]) -> None:
        self.session.link(steps[-1].name, Path(steps[-1].artifact))
        self.session.save(steps)


def begin(
    name: str,
    config: Config,
    runtime: Runtime,
    store: Store,
    say: Callable[[str], None] = silence,
    elected: str = "",
    **record: Any,
) -> Session:
    """Resolve what the run depends on, and record that it has begun.

    Args:
        name: of the recipe.
        say: told what a person should know.
        elected: why it is this giant, where there were several.
        record: more of what the record says.
    """
    request = requested(config, store, say)
    earlier = past_runs(store.runs)
    for killed in (r for r in earlier if r.says() == "killed"):
        Boards(store.root, killed.run_id).abort("killed")
    begun = time.strftime(STARTED, time.gmtime())
    run_id = new_run_id(name, begun)
    outside = resolve(request, runtime, earlier, name, run_id, say, elected)
    entry = RunRecord(
        run_id=run_id,
        recipe=name,
        request=request.digest,
        serving=outside.serving.place,
        baseline=str(outside.blessed.path) if outside.blessed else None,
        started=begun,
        settings=departures(config),
        **record,
    )
    entry.save(store.runs)
    return Session(store, entry, outside)


def requested(
    config: Config, store: Store, say: Callable[[str], None] = silence, *, builds: bool = False
) -> Request:
    """What is asked for, downloaded where it is not here, and looked at.

    Args:
        builds: the giant is built at once anyway, so that it is not built to be looked at.
    """
    with contextlib.redirect_stdout(sys.stderr):  # Keras and TFDS tell of downloads there.
        request = resolve_request(config, download=True, digests=store.digests, say=say)
    if not builds:
        check_giant(config, request.giant, store)
    return request


def _main(outcome: Outcome) -> dict[str, float]:
    evaluation = outcome.evaluation
    wanted = main_figures(evaluation.targets)
    return {name: value for name, value in evaluation.figures.items() if name in wanted}


def result(
    record: RunRecord,
    seconds: float,
    steps: list[Step],
    outcome: Outcome,
    known: set[str | None],
) -> RunResult:
    """What a run came to that has ended.

    Args:
        known: what earlier runs have said to have pushed. One that was killed after its push has
            not said so: then this one does.
    """
    judged = {s.name: s.stats for s in steps if s.name.endswith(("evaluate", "shortcut"))}
    metrics = {"test": judged.pop("evaluate", outcome.evaluation.stats)}
    metrics |= {name.removesuffix(".evaluate"): stats for name, stats in judged.items()}
    pushed = outcome.pushed.path
    return RunResult(
        run_id=record.run_id,
        recipe=record.recipe,
        outcome="withdrawn" if outcome.pushed.withdrawn else _outcome(steps, pushed, known),
        seconds=seconds,
        steps=tuple(steps),
        metrics=metrics,
        blessed=outcome.blessing.blessed,
        reasons=outcome.blessing.reasons,
        version=int(pushed.name) if pushed else None,
        pushed=pushed,
        report=outcome.report.path,
        proposals=tuple(outcome.report.proposals),
    )


def _outcome(steps: list[Step], pushed: Path | None, known: set[str | None]) -> str:
    """What became of a run that came to its end; see `RunRecord`."""
    if pushed is None:
        return "not blessed"
    by = [step for step in steps if step.name == "push"]
    is_new = all(s.status == "ran" and not s.stats.get("already") for s in by)
    return "pushed" if is_new or str(pushed) not in known else "unchanged"


def runtime_of(
    config: Config,
    store: Store,
    serving_dir: Path | None,
    recipe: str,
    *,
    fresh: bool,
) -> Runtime:
    """Where a run of this recipe takes place."""
    backend = choose_backend(config.runtime)
    hosts = choose_hosts(config.runtime, backend, fresh=fresh, views=config.augment.views)
    if hosts.count > 1 and config.model.finalists > 1:
        raise Mistake(
            f"model.finalists must be 1 where several hosts train, got {config.model.finalists}: "
            f"find the giant with advise"
        )
    runtime = Runtime(
        store=store.root,
        serving=check_place(
            (serving_dir or store.root / "serving" / recipe).resolve(), "--serving-dir"
        ),
        fresh=fresh,
        config=config.runtime,
        backend=backend,
        hosts=hosts,
        beam=config.beam,
    )
    if runtime.isolates or backend != TENSORFLOW:
        hide_gpus()  # They are for the processes that stages have of their own.
    return runtime
