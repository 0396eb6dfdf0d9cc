"""One run from its beginning, where everything outside is resolved, to its record in the store."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.tasks.table import main_figures
from models.quiet import hide_gpus
from pipeline.config import Config
from pipeline.flow import Outcome, Outside
from pipeline.outside import resolve, resolve_request
from pipeline.processes import TENSORFLOW
from pipeline.records import STARTED, RunRecord, Step, new_run_id, past_runs
from pipeline.runtime import Runtime, choose_backend, choose_hosts
from pipeline.store import Store


@dataclass(frozen=True)
class Session:
    """A run that has begun."""

    store: Store
    record: RunRecord
    outside: Outside

    def end(self, seconds: float, outcome: Outcome, steps: list[Step]) -> dict[str, Any]:
        """Record what became of it; returns the object that `--json` prints."""
        found = result(self.record, steps, outcome)
        self._save(
            outcome="pushed" if outcome.pushed.path else "not blessed",
            seconds=round(seconds, 3),
            figures=_main(outcome),
            pushed=found["pushed"],
            report=found["report"],
            stages=[{"name": s.name, "status": s.status, "seconds": s.seconds} for s in steps],
        )
        return found

    def fail(self, seconds: float, why: str) -> None:
        self._save(outcome=why, seconds=round(seconds, 3))

    def _save(self, **changes: Any) -> None:
        self.record.model_copy(update=changes).save(self.store.runs)


def begin(name: str, config: Config, runtime: Runtime, store: Store, **record: Any) -> Session:
    """Resolve what the run depends on, and record that it has begun.

    Args:
        name: of the recipe.
        record: more of what the record says.
    """
    with contextlib.redirect_stdout(sys.stderr):  # Keras and TFDS tell of downloads there.
        request = resolve_request(config, download=True)
    outside = resolve(request, runtime, past_runs(store.runs))
    begun = time.strftime(STARTED, time.gmtime())
    entry = RunRecord(
        run_id=new_run_id(name, begun),
        recipe=name,
        request=request.digest,
        serving=outside.serving.digest,
        baseline=str(outside.blessed.path) if outside.blessed else None,
        started=begun,
        **record,
    )
    entry.save(store.runs)
    return Session(store, entry, outside)


def _main(outcome: Outcome) -> dict[str, float]:
    evaluation = outcome.evaluation
    wanted = main_figures(evaluation.targets)
    return {name: value for name, value in evaluation.figures.items() if name in wanted}


def result(record: RunRecord, steps: list[Step], outcome: Outcome) -> dict[str, Any]:
    """The object that --json prints."""
    stages = [{k: v for k, v in asdict(step).items() if k != "why"} for step in steps]
    judged = {s.name: s.stats for s in steps if s.name.endswith("evaluate")}
    metrics = {"test": judged.pop("evaluate", outcome.evaluation.stats)}
    metrics |= {name.removesuffix(".evaluate"): stats for name, stats in judged.items()}
    return {
        "run_id": record.run_id,
        "recipe": record.recipe,
        "stages": stages,
        "metrics": metrics,
        "blessed": outcome.blessing.blessed,
        "reasons": list(outcome.blessing.reasons),
        "pushed": str(outcome.pushed.path) if outcome.pushed.path else None,
        "report": str(outcome.report.path),
    }


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
    runtime = Runtime(
        store=store.root,
        serving=(serving_dir or store.root / "serving" / recipe).resolve(),
        fresh=fresh,
        config=config.runtime,
        backend=backend,
        hosts=choose_hosts(config.runtime, backend, fresh=fresh, views=config.augment.views),
        beam=config.beam,
    )
    if runtime.isolates or backend != TENSORFLOW:
        hide_gpus()  # They are for the processes that stages have of their own.
    return runtime
