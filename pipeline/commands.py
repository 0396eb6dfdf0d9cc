"""The commands behind the command line."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from etils import epy

from components.section import BeamConfig
from models.mistakes import Mistake
from models.quiet import import_tensorflow
from pipeline.config import Config, recipe_path
from pipeline.console import Log, open_log
from pipeline.flow import flow
from pipeline.hosts import Hosts
from pipeline.interpreters.execute import Executor, execute
from pipeline.interpreters.help import help_to_train, leading
from pipeline.interpreters.plan import Planner, print_plan
from pipeline.outside import resolve, resolve_request
from pipeline.prune import leftovers
from pipeline.prune import remove as remove_leftover
from pipeline.records import Step, past_runs
from pipeline.session import begin, runtime_of
from pipeline.stopping import Stopped, deadline, has_stopped
from pipeline.store import Store

with epy.lazy_imports():
    from rich import console as rich_console
    from rich import table as rich_table

    from components.on_beam import bulk as on_beam_bulk
    from components.on_beam import runner as beam_runner
    from components.served import answers, bulk
    from components.served import predict as asking
    from pipeline.cluster import kubeflow


def run(
    recipe: str,
    config: Config,
    store_path: Path,
    serving_dir: Path | None,
    *,
    fresh: bool,
    as_json: bool,
    log: Literal["text", "json"],
) -> int:
    """Execute the flow; the exit status is 0, or 3 where the model was not blessed.

    On all of several hosts but the first: help with it.
    """
    name = recipe_path(recipe).stem
    store = Store(store_path)
    runtime = runtime_of(config, store, serving_dir, name, fresh=fresh)
    console = open_log(log)
    if runtime.hosts.rank:
        # It ends with the first one, which has the deadline.
        helped = help_to_train(name, config, runtime, store, console)
        _tell_of_help(runtime.hosts, helped, as_json)
        return 0
    with store.lock(), deadline(config.runtime.deadline), contextlib.ExitStack() as stack:
        started = time.monotonic()
        session = begin(name, config, runtime, store)
        steps: list[Step] = []
        try:
            several = runtime.hosts.count > 1
            announce = stack.enter_context(leading(session)) if several else None
            executor = Executor(store, runtime, console, steps, announce)
            outcome = execute(lambda: flow(executor, config, session.outside), console, steps)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | Stopped)
            if stopped:
                has_stopped()
            console.stop()
            why = "stopped" if stopped else f"failed: {error}"
            session.fail(time.monotonic() - started, why)
            raise
        seconds = time.monotonic() - started
        result = session.end(seconds, outcome, steps)
    _tell(result, seconds, console, as_json)
    return 0 if outcome.blessing.blessed else 3


def plan(
    recipe: str,
    config: Config,
    store_path: Path,
    serving_dir: Path | None,
    *,
    fresh: bool,
    as_json: bool,
) -> int:
    """Trace the flow and print what would run."""
    store = Store(store_path)
    runtime = runtime_of(config, store, serving_dir, recipe_path(recipe).stem, fresh=fresh)
    request = resolve_request(config, download=False)
    outside = resolve(request, runtime, past_runs(store.runs))
    steps: list[Step] = []
    flow(Planner(store, fresh, steps), config, outside)
    if as_json:
        rows = [
            {"name": s.name, "status": s.status, "why": s.why, "artifact": s.artifact or None}
            for s in steps
        ]
        _print_json({"recipe": recipe, "stages": rows})
    else:
        print_plan(steps)
    return 0


def compile_pipeline(
    recipe: str, config: Config, store: str, serving_dir: str | None, output: Path, *, fresh: bool
) -> int:
    """Write the flow for a cluster."""
    name = recipe_path(recipe).stem
    kubeflow.compile_pipeline(name, config, store, serving_dir, output, fresh=fresh)
    sys.stdout.write(f"{output}\n")
    return 0


def submit(
    recipe: str,
    config: Config,
    store: str,
    serving_dir: str | None,
    host: str,
    schedule: str,
    *,
    fresh: bool,
) -> int:
    """Write the flow for a cluster, and start it there."""
    name = recipe_path(recipe).stem
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory) / "pipeline.yaml"
        kubeflow.compile_pipeline(name, config, store, serving_dir, package, fresh=fresh)
        with contextlib.redirect_stdout(sys.stderr):
            made = kubeflow.submit(package, name, config.runtime, host, schedule)
    sys.stdout.write(f"{made}\n")
    return 0


def runs(store_path: Path, *, as_json: bool) -> int:
    """List the records of past runs."""
    records = past_runs(Store(store_path).runs)
    if as_json:
        _print_json([r.model_dump() | {"outcome": r.says()} for r in records])
        return 0
    table = rich_table.Table(
        "run", "outcome", "figures", "seconds", "pushed", box=None, pad_edge=False
    )
    for record in records:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in record.figures.items())
        table.add_row(
            record.run_id, record.says(), figures, f"{record.seconds:.1f}", record.pushed or ""
        )
    rich_console.Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def prune(store_path: Path, *, remove: bool, as_json: bool) -> int:
    """List the activations that nothing refers to, and remove them if told to."""
    store = Store(store_path)
    with store.lock():
        left = leftovers(store)
        if remove:
            for each in left:
                remove_leftover(each)
    if as_json:
        rows = [{"key": x.key, "what": x.what, "rows": x.rows, "bytes": x.bytes} for x in left]
        _print_json({"removed": remove, "activations": rows})
        return 0
    for each in left:
        sys.stdout.write(f"{each.bytes / 1e6:10.1f} MB  {each.rows:8} rows  {each.what}\n")
    total = f"{sum(each.bytes for each in left) / 1e6:.1f} MB of activations"
    said = "removed" if remove else "that no artifact refers to" + (": --remove" if left else "")
    sys.stdout.write(f"{total} {said}\n")
    return 0


def predict(model: Path, inputs: tuple[str, ...], *, as_json: bool) -> int:
    """Print what an exported model says of each input, in the order given."""
    if not inputs:
        raise Mistake("INPUT must name at least one example, got none")
    import_tensorflow()
    found = asking.predict(model, inputs)
    if as_json:
        _print_json([each.as_json() for each in found])
        return 0
    for each in found:
        sys.stdout.write(f"{each.as_line()}\n")
    return 0


def predict_in_bulk(
    model: Path,
    inputs: tuple[str, ...],
    output: Path,
    batch_size: int,
    beam: BeamConfig,
    *,
    as_json: bool,
) -> int:
    """Write what an exported model says of all inputs."""
    if not inputs:
        raise Mistake("INPUT must name at least one folder, file or dataset, got none")
    if batch_size < 1:
        raise Mistake(f"--batch-size must be at least 1, got {batch_size}")
    import_tensorflow()
    beam_runner.check(beam)
    asked = answers.asked(model, output, batch_size)
    if beam.runner:
        done = on_beam_bulk.predict(asked, inputs, output.absolute(), beam)
    else:
        done = bulk.predict(asked, inputs, output, open_log("text").progress)
    if as_json:
        _print_json(asdict(done))
        return 0
    total = done.predicted + done.quarantined
    lines = [f"{total} inputs: {done.predicted} predicted, {done.quarantined} quarantined"]
    sys.stdout.write("\n".join([*lines, *done.outputs, done.quarantine]) + "\n")
    return 0


def _tell_of_help(hosts: Hosts, helped: list[str], as_json: bool) -> None:
    if as_json:
        _print_json({"host": hosts.rank, "hosts": hosts.count, "helped": helped})
        return
    stages = ", ".join(helped) or "nothing, as all was there"
    sys.stdout.write(f"host {hosts.rank} of {hosts.count} helped with {stages}\n")


def _tell(result: dict[str, Any], seconds: float, console: Log, as_json: bool) -> None:
    if as_json:
        _print_json(result)
        return
    console.say("")
    verdict = "BLESSED" if result["blessed"] else "NOT BLESSED"
    lines = [f"{verdict} after {seconds:.1f} s", *(f"  {r}" for r in result["reasons"])]
    lines += [f"{'pushed':<8}{result['pushed'] or 'nothing'}", f"{'report':<8}{result['report']}"]
    sys.stdout.write("\n".join(lines) + "\n")


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, default=str) + "\n")
