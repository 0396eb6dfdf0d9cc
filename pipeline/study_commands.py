"""The commands that find out or change something without a run of the flow as it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from components.pages.advice import WAYS
from components.pages.trials import page as trial_page
from models.mistakes import Mistake
from pipeline import advising, api, classes, studies, tuning
from pipeline.config import Config
from pipeline.console import open_log, print_json
from pipeline.studies import Study

# Fewer examples tell nothing.
_LEAST = 20


def learning_curve(
    recipe: str,
    config: Config,
    store: Path,
    goal: float | None,
    *,
    as_json: bool,
    log: Literal["text", "json"],
) -> int:
    """Tell how many more labels a goal needs, and what twice as many would be good for."""
    told = studies.learning_curve(Study.of(recipe, config, store, open_log(log)))
    if goal is not None and (why := next(filter(None, (each.check(goal) for each in told)), "")):
        raise Mistake(f"--goal must be {why}, got {goal:g}")
    if as_json:
        print_json([each.as_json(goal) for each in told])
        return 0
    for each in told:
        wanted = each.goal if goal is None else goal
        said = (each.summary(), each.for_goal(wanted), each.of_classes())
        sys.stdout.write("".join(f"{sentence}\n" for sentence in said if sentence))
    return 0


def advise(
    recipe: str,
    config: Config,
    store: Path,
    giants: tuple[str, ...],
    sample: int,
    output: Path,
    *,
    as_json: bool,
    log: Literal["text", "json"],
) -> int:
    """Tell which giant to take, and write a recipe to run."""
    if sample < _LEAST:
        raise Mistake(f"--sample must be at least {_LEAST}, got {sample}")
    _check_output(output)
    study = Study.of(recipe, config, store, open_log(log))
    advice = advising.advice(study, giants, sample)
    output.write_text(advising.recipe(study, advice), encoding="utf-8")
    told = advice.told
    if as_json:
        print_json(told | {"recipe": str(output), "page": str(advice.page)})
        return 0
    sys.stdout.write("\n".join(_lines(told)) + f"\n\nrecipe  {output}\npage    {advice.page}\n")
    return 0


def tune(
    recipe: str,
    config: Config,
    store: Path,
    serving_dir: Path | None,
    giants: tuple[str, ...],
    trials: int,
    output: Path,
    *,
    as_json: bool,
    log: Literal["text", "json"],
) -> int:
    """Search, write the best as a recipe, and run it; the exit status is that of the run."""
    if trials < 1:
        raise Mistake(f"--trials must be at least 1, got {trials}")
    _check_output(output)
    console = open_log(log)
    study = Study.of(recipe, config, store, console)
    tuned = tuning.tune(study, giants, trials)
    told = tuned.as_json() | {"recipe": study.recipe}
    page = tuned.directory / "trials.html"
    page.write_text(trial_page(told), encoding="utf-8")
    output.write_text(tuning.recipe(tuned), encoding="utf-8")
    result = api.run(recipe, tuned.settled, store=store, serving_dir=serving_dir, log=console)
    if as_json:
        print_json(told | {"recipe": str(output), "page": str(page), "run": result.as_json()})
    else:
        sys.stdout.write("\n".join(_trial_lines(told)) + "\n\n")
        sys.stdout.write(f"{result.verdict}\nrecipe  {output}\npage    {page}\n")
        sys.stdout.write(f"report  {result.report}\n")
    return 0 if result.blessed else 3


def _trial_lines(told: dict[str, Any]) -> Iterator[str]:
    """The search, for a terminal."""
    for trial in sorted(told["trials"], key=lambda t: (t["loss"] is None, t["loss"] or 0.0)):
        came = "given up" if trial["state"] == "pruned" else "no sense"
        loss = came if trial["loss"] is None else f"{trial['loss']:8.4f}"
        settings = ", ".join(f"{key} {value}" for key, value in trial["settings"].items())
        yield f"{trial['number'] + 1:>4}  {loss:>8}  {trial['seconds']:7.1f} s  {settings}"
    yield ""
    yield f"{100 * told['saved']:.0f} % of the seconds that the trials come to were not spent"


def match(model: Path, first: str, second: str, store: Path, *, as_json: bool) -> int:
    """Print whether two examples are the same; the exit status is 0 where nobody can tell, too."""
    found = api.load(model, store).match(first, second)
    if as_json:
        print_json(found.as_json())
    else:
        sys.stdout.write(f"{found.as_line()}\n")
    return 0


def change_class(
    model: Path,
    label: str,
    files: tuple[Path, ...],
    store: Path,
    *,
    removes: bool,
    sign: str,
    as_json: bool,
    log: Literal["text", "json"],
) -> int:
    """Add a class to a model, or remove one; the exit status is 3 where it was not blessed."""
    if not removes and not files:
        raise Mistake(f"FILES must be examples of {label!r}, got none")
    console = open_log(log)
    done = classes.change(model, label, files, store, console, removes=removes, sign=sign)
    if as_json:
        print_json(done.as_json())
    else:
        kept, figures = done.kept, done.evaluation.figures
        lines = [
            f"{'BLESSED' if done.blessing.blessed else 'NOT BLESSED'} after {done.seconds:.1f} s",
            f"  It knows {', '.join(done.labels)}, with accuracy {figures['accuracy']:.3f}.",
            f"  On {kept.count} test examples of the classes that were there it has accuracy "
            f"{kept.value:.3f}, before {kept.other:.3f} ({kept.low:+.3f} to {kept.high:+.3f}).",
            *(f"  {reason}" for reason in done.blessing.reasons[:1] if not done.blessing.blessed),
        ]
        if done.pushed.path:
            lines.append(f"pushed  {done.pushed.path}")
        if not removes:
            lines.append("Put them where the next run looks for examples, too: it is of those.")
        sys.stdout.write("\n".join(lines) + "\n")
    return 0 if done.blessing.blessed else 3


def _check_output(output: Path) -> None:
    if output.suffix != ".toml" or not output.absolute().parent.is_dir():
        raise Mistake(f"--output must be a .toml file in a folder that exists, got {str(output)!r}")


def _lines(told: dict[str, Any]) -> Iterator[str]:
    """The advice, for a terminal."""
    name = told["figure"]
    width = max(len(giant["name"]) for giant in told["giants"])
    ways = [way for way in WAYS if any(way in giant["scores"] for giant in told["giants"])]
    yield f"{name} on {told['examples']} of {told['of']} examples, each left out"
    yield " ".join([f"{'giant':<{width}}", *(f"{WAYS[way]:>11}" for way in ways), f"{'ms':>7}"])
    for giant in told["giants"]:
        known = (giant["scores"].get(way) for way in ways)
        cells = [f"{score['figures'][name]:11.3f}" if score else " " * 11 for score in known]
        took = f"{giant['milliseconds']:7.1f}" if giant["milliseconds"] else " " * 7
        mark = " ✓" if giant["name"] in told["finalists"] else ""
        yield " ".join([f"{giant['name']:<{width}}", *cells, took]) + mark
    yield from (f"{giant} cannot be had: {why}" for giant, why in told["left_out"].items())
    yield ""
    yield from told["why"]
    yield ""
    width = max(len(rung["name"]) for rung in told["rungs"])
    for rung in told["rungs"]:
        yield f"{rung['verdict']:<11}  {rung['name']:<{width}}  {rung['why']}"
