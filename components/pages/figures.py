"""Figures beside those of the rivals, as a page has them."""

from __future__ import annotations

from components.artifacts import Evaluation, SoFar, TrainedModel
from components.files import read_json
from components.pages import charts
from components.pages.charts import Whisker
from components.tasks.protocol import Figure
from components.tasks.table import figures_of, main_figures

# What the page calls those that the model is compared with.
_RIVALS = {
    "control": "the best from scratch",
    "shortcut": "without looking at them",
    "blessed": "the last blessed model",
}


def comparisons(so_far: SoFar) -> list[str]:
    """For each target: its main figure and those of the rivals, with whiskers."""
    evaluation = so_far.evaluation
    found = []
    for name, figure in main_figures(evaluation.targets).items():
        if name not in evaluation.figures:
            continue
        judged = {"this model": evaluation}
        judged |= {_RIVALS[key]: rival for key, rival in so_far.rivals.named().items()}
        rows = [
            Whisker(what, each.figures[name], *each.intervals[name], _text(each, name, figure))
            for what, each in judged.items()
            if name in each.figures
        ]
        trivial, always = evaluation.trivial[name], f"always {evaluation.trivially[name]}"
        rows.append(Whisker(always, trivial, None, None, figure.text(trivial)))
        on = f"{name.replace('_', ' ')} on {evaluation.judged[name]} test examples"
        found.append(charts.whiskers(rows, on))
    return found


def _text(evaluation: Evaluation, name: str, figure: Figure) -> str:
    low, high = (figure.text(end) for end in evaluation.intervals[name])
    return f"{figure.text(evaluation.figures[name])}  ({low} to {high})"


def figures(so_far: SoFar) -> list[tuple[str, str, str]]:
    """(name, value and interval, what it is) of every figure."""
    evaluation = so_far.evaluation
    return [
        (name.replace("_", " "), _text(evaluation, name, figure), figure.meaning)
        for name, figure in figures_of(evaluation.targets).items()
        if name in evaluation.figures
    ]


def left_out(so_far: SoFar) -> str:
    """What was not compared with, and how to; empty where all was."""
    control = so_far.rivals.control
    if control is None:
        return (
            "Nothing was trained from scratch to be compared with: say --control.enabled true to "
            "know whether transferring helps."
        )
    model = trained(control)
    why = read_json(model.directory / "rivals.json")["left_out"] if model else ""
    return f"The same network was not trained from scratch: {why}." if why else ""


def trained(control: Evaluation | None) -> TrainedModel | None:
    return control.model.trained if control and control.model else None
