"""The commands behind the command line."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

from etils import epy

from components.section import BeamConfig, duration, size
from components.served.manifest import find_model
from models.mistakes import Mistake, printable
from models.quiet import import_tensorflow
from pipeline import api, comparing, old
from pipeline.config import Config
from pipeline.console import open_log, print_json
from pipeline.hosts import Hosts
from pipeline.interpreters.help import help_to_train
from pipeline.local import beside
from pipeline.prune import leftovers
from pipeline.prune import remove as remove_leftover
from pipeline.recipe import recipe_path
from pipeline.records import Step
from pipeline.results import Plan, RunResult
from pipeline.session import runtime_of
from pipeline.store import Store

with epy.lazy_imports():
    from rich import console as rich_console
    from rich import table as rich_table
    from rich import text as rich_text

    from components.on_beam import bulk as on_beam_bulk
    from components.on_beam import runner as beam_runner
    from components.served import answers, bulk, timeline
    from components.served import predict as asking
    from pipeline import side_by_side
    from pipeline.cluster import kubeflow

# So many of what to try next are told.
_PROPOSED = 2
# Of a comparison, as JSON has it.
_TOLD = ("shared", "only_first", "only_second", "gained", "lost", "asked")


def run(
    recipe: str,
    config: Config,
    store_path: Path,
    serving_dir: Path | None,
    *,
    fresh: bool,
    watch: bool,
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
    with beside(store_path, console.say) if watch else contextlib.nullcontext():
        result = api.run(
            recipe, config, store=store_path, serving_dir=serving_dir, fresh=fresh, log=console
        )
    if as_json:
        print_json(result.as_json())
    else:
        console.say("")
        _tell(result)
    return 0 if result.blessed else 3


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
    found = api.plan(recipe, config, store=store_path, serving_dir=serving_dir, fresh=fresh)
    if as_json:
        print_json(
            {"recipe": found.recipe, "stages": list(map(_planned, found.steps, repeat(found)))}
        )
        return 0
    width = max(len(step.name) for step in found.steps)
    for step in found.steps:
        before = found.known.get(step.name) if step.status == "would run" else None
        took = f"{duration(before.seconds)}, {size(before.bytes)}" if before else ""
        why = f"  ({step.why})" if step.why else ""
        sys.stdout.write(f"{step.name:<{width}}  {step.status:<9}  {took:<18}{why}".rstrip() + "\n")
    _sum_up(found)
    return 0


def _planned(step: Step, found: Plan) -> dict[str, Any]:
    before = found.known.get(step.name)
    return {
        "name": step.name,
        "status": step.status,
        "why": step.why,
        "artifact": step.artifact or None,
        "expected_seconds": before.seconds if before else None,
        "expected_bytes": before.bytes if before else None,
    }


def _sum_up(found: Plan) -> None:
    """What all that would run took when it last ran here, as far as that is known."""
    left = [step.name for step in found.steps if step.status == "would run"]
    known = [found.known[name] for name in left if name in found.known]
    if not left:
        said = "Nothing would run."
    elif not known:
        said = (
            f"{len(left)} stages would run; none of them ran here before, so nobody knows how long."
        )
    else:
        took = f"{duration(sum(e.seconds for e in known))} and {size(sum(e.bytes for e in known))}"
        which = "these took" if len(known) == len(left) else f"{len(known)} of them took"
        said = f"{len(left)} stages would run; {which} {took} the last time."
    sys.stdout.write(f"\n{said}\n")


def rollback(model: Path, to: int, reason: str, store: Path, *, as_json: bool) -> int:
    """Publish an earlier version again."""
    path = api.rollback(model, to, reason, store=store)
    if as_json:
        print_json({"version": int(path.name), "path": str(path), "to": to, "reason": reason})
    else:
        sys.stdout.write(f"{path}\n")
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


def runs(store_path: Path, recipe: str, *, as_json: bool) -> int:
    """List the records of past runs."""
    records = api.runs(store_path, recipe)
    if as_json:
        print_json([r.model_dump() | {"outcome": r.became} for r in records])
        return 0
    if not records:
        sys.stdout.write(f"no run in {store_path} yet\n")
        return 0
    table = rich_table.Table(box=None, pad_edge=False)
    for name in ("run", "outcome", "figures", "seconds", "pushed"):
        # What a failed run says may be long; --json has all of it.
        most = 60 if name == "outcome" else None
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=most)
    for record in records:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in record.figures.items())
        pushed = record.pushed if record.pushed and record.outcome == "pushed" else ""
        cells = (record.run_id, record.says(), figures, f"{record.seconds:.1f}", pushed)
        # What is in brackets is no markup.
        table.add_row(*(rich_text.Text(printable(cell)) for cell in cells))
    rich_console.Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def compare(
    store_path: Path, first: str, others: tuple[str, ...], page: Path | None, *, as_json: bool
) -> int:
    """Put past runs side by side, each beside the first."""
    if not others:
        raise Mistake(f"RUN must be two runs or more, got {first!r} alone")
    if page and (page.suffix != ".html" or not page.absolute().parent.is_dir()):
        raise Mistake(f"--page must be a .html file in a folder that exists, got {str(page)!r}")
    store = Store(store_path)
    found = [comparing.compare(store, first, other) for other in others]
    if page:
        page.write_text(side_by_side.page(store, found), encoding="utf-8")
    if as_json:
        told = [_compared(each) for each in found]
        print_json(told[0] if len(told) == 1 else told)
        return 0
    sys.stdout.write("\n\n".join("\n".join(comparing.lines(each)) for each in found) + "\n")
    if page:
        sys.stdout.write(f"\npage    {page}\n")
    return 0


def _compared(found: comparing.Compared) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "first": found.first.run_id,
        "second": found.second.run_id,
        "figures": [
            each.model_dump(exclude={"rival"}) | {"verdict": each.verdict(found.kinds[each.name])}
            for each in found.figures
        ],
        **{name: getattr(found, name) for name in _TOLD},
    }


def prune(store_path: Path, keep_runs: int | None, *, remove: bool, as_json: bool) -> int:
    """List the activations, and artifacts, that nothing refers to, and remove them if told to."""
    store = Store(store_path)
    if keep_runs is not None and keep_runs < 1:
        raise Mistake(f"--keep-runs must be at least 1, got {keep_runs}")
    with store.lock():
        unused = old.old_artifacts(store, keep_runs) if keep_runs else []
        left = leftovers(store, [each.path for each in unused])
        if remove:
            if keep_runs:
                old.remove(store, unused, keep_runs)
            for each in left:
                remove_leftover(each)
    if as_json:
        rows = [{"key": x.key, "what": x.what, "rows": x.rows, "bytes": x.bytes} for x in left]
        artifacts = [{"artifact": each.ref, "bytes": each.bytes} for each in unused]
        print_json({"removed": remove, "activations": rows, "artifacts": artifacts})
        return 0
    for one in unused:
        sys.stdout.write(f"{one.bytes / 1e6:10.1f} MB  {one.ref}\n")
    for each in left:
        sys.stdout.write(f"{each.bytes / 1e6:10.1f} MB  {each.rows:8} rows  {each.what}\n")
    total = f"{sum(each.bytes for each in left) / 1e6:.1f} MB of activations"
    if keep_runs:
        size_of = f"{sum(one.bytes for one in unused) / 1e6:.1f} MB of {len(unused)} artifacts"
        total = f"{size_of} and {total}"
    said = "removed" if remove else "that no artifact refers to" + (": --remove" if left else "")
    if keep_runs and not remove:
        said = "that no run which is kept refers to: --remove"
    sys.stdout.write(f"{total} {said}\n")
    return 0


def signed(model: Path, store: Path, public_key: Path) -> Path:
    """Which version is meant, signed by a key; a `Mistake` where it is not, before it is loaded."""
    return api.load(model, store, public_key).path


def predict(model: Path, inputs: tuple[str, ...], store: Path, *, as_json: bool) -> int:
    """Print what an exported model says of each input, in the order given."""
    if not inputs:
        raise Mistake("INPUT must name at least one example, got none")
    opened = api.load(model, store)
    asking.check_inputs(inputs, opened.modality)
    found = opened.predict(inputs)
    if as_json:
        print_json([each.as_json() for each in found])
        return 0
    sys.stderr.write(f"{opened.title}\n")
    for each in found:
        sys.stdout.write(f"{each.as_line()}\n")
    return 0


@dataclass(frozen=True)
class Moments:
    """How a long recording is asked about: --every, --events and --release."""

    every: float
    events: float | None
    release: float | None
    batch_size: int

    @property
    def until(self) -> float:
        """How probable what goes on must be: six tenths of what began it where not given."""
        return 0.6 * (self.events or 0.0) if self.release is None else self.release


def predict_timeline(
    model: Path,
    inputs: tuple[str, ...],
    store: Path,
    asked: Moments,
    *,
    as_json: bool,
) -> int:
    """Print what an exported model says of each moment of recordings, or the events in them."""
    if not inputs:
        raise Mistake("INPUT must name at least one recording, got none")
    if asked.events is None and asked.release is not None:
        raise Mistake("--release must be given with --events")
    opened = api.load(model, store)
    asking.check_inputs(inputs, opened.modality)
    told = []
    for name in inputs:
        steps = opened.timeline(name, asked.every, batch_size=asked.batch_size)
        if as_json:
            kept = list(steps)
            row: dict[str, Any] = {"input": name, "steps": [step.as_json() for step in kept]}
            if asked.events is not None:
                found = timeline.events(kept, asked.events, asked.until)
                row["events"] = [asdict(event) for event in found]
            told.append(row)
            continue
        lines: Iterable[Any] = steps
        if asked.events is not None:
            lines = timeline.events(steps, asked.events, asked.until)
        for line in lines:
            before = f"{name}\t" if len(inputs) > 1 else ""
            sys.stdout.write(f"{before}{line.as_line()}\n")
    if as_json:
        print_json(told)
    return 0


def check_model(model: Path, inputs: tuple[str, ...], store: Path, *, as_json: bool) -> int:
    """Load a model and compare what it says with what it said when it was exported."""
    if inputs:
        raise Mistake(f"--check must be given without INPUT, got {inputs[0]!r}")
    opened = api.load(model, store)
    count = opened.check()
    if as_json:
        print_json({"model": str(opened.path), "golden_examples": count})
        return 0
    said = f"says the same of its {count} golden examples" if count else "has no golden examples"
    sys.stdout.write(f"{opened.path}: its files are whole; it {said}\n")
    return 0


def predict_in_bulk(
    model: Path,
    inputs: tuple[str, ...],
    store: Path,
    output: Path,
    batch_size: int,
    beam: BeamConfig,
    root: Path | None,
    *,
    as_json: bool,
) -> int:
    """Write what an exported model says of all inputs."""
    if not inputs:
        raise Mistake("INPUT must name at least one folder, file or dataset, got none")
    if batch_size < 1:
        raise Mistake(f"--batch-size must be at least 1, got {batch_size}")
    beam_runner.check(beam)
    if root and not root.is_dir():
        raise Mistake(f"--root must be a folder, got {str(root)!r}")
    path, bound = find_model(model, Store(store).root / "serving"), str(root or "")
    asked = answers.asked(path, output, batch_size, bound)
    import_tensorflow()
    if beam.runner:
        done = on_beam_bulk.predict(asked, inputs, output.absolute(), beam)
    else:
        done = bulk.predict(asked, inputs, output, open_log("text").progress)
    if as_json:
        print_json(asdict(done))
        return 0
    total = done.predicted + done.quarantined
    lines = [f"{total} inputs: {done.predicted} predicted, {done.quarantined} quarantined"]
    sys.stdout.write("\n".join([*lines, *done.outputs, done.quarantine]) + "\n")
    return 0


def _tell_of_help(hosts: Hosts, helped: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"host": hosts.rank, "hosts": hosts.count, "helped": helped})
        return
    stages = ", ".join(helped) or "nothing, as all was there"
    sys.stdout.write(f"host {hosts.rank} of {hosts.count} helped with {stages}\n")


def _tell(result: RunResult) -> None:
    """The verdict; of a run in which nothing changed, that alone."""
    lines = [f"{result.verdict} after {result.seconds:.1f} s"]
    if result.outcome != "unchanged" or _ran(result, "bless"):
        lines += [_wrapped(reason) for reason in result.reasons]
        lines += [_wrapped(f"next: {_proposed(each)}") for each in result.proposals[:_PROPOSED]]
    where = "served" if result.outcome == "unchanged" else "pushed"
    lines += [f"{where:<8}{result.pushed or 'nothing'}", f"{'report':<8}{result.report}"]
    sys.stdout.write("\n".join(lines) + "\n")


def _proposed(proposal: Mapping[str, Any]) -> str:
    return f"{proposal['what']} {proposal['flags']}".strip()


def _wrapped(sentence: str) -> str:
    """Indented, and on a terminal as wide as that."""
    if not sys.stdout.isatty():
        return f"  {sentence}"
    width = shutil.get_terminal_size().columns
    return textwrap.fill(sentence, width, initial_indent="  ", subsequent_indent="    ")


def _ran(result: RunResult, name: str) -> bool:
    return any(step.name == name and step.status == "ran" for step in result.steps)
