"""Two evaluations side by side, on the very same examples."""

from __future__ import annotations

from collections.abc import Sequence

from components.artifacts import Evaluation
from components.judging import predictions
from components.judging.predictions import Row
from components.tasks.figures import CONFIDENCE, Comparison, differences
from components.tasks.protocol import Tally, Target
from components.tasks.table import task_of


def compare(
    this: Evaluation, other: Evaluation, confidence: float = CONFIDENCE
) -> list[Comparison]:
    """All figures that both have, on the examples that both were asked about."""
    ours, theirs = _rows(this), _rows(other)
    found = []
    for number, target in enumerate(this.targets):
        keys = [k for k, row in ours.items() if k in theirs and row["answers"][number] is not None]
        mine = _tally(this, [ours[key] for key in keys], number, target)
        its = _tally(other, [theirs[key] for key in keys], number, target)
        if mine is None or its is None:
            continue
        for name, (value, before, (low, high)) in differences(mine, its, confidence).items():
            found.append(
                Comparison(
                    name=target.named(name),
                    count=len(keys),
                    value=value,
                    other=before,
                    low=low,
                    high=high,
                )
            )
    return found


def place_of(target: Target, among: Sequence[Target]) -> int | None:
    """Which of a model's targets answers what is asked; None where none does."""
    names = [(each.name, each.task) for each in among]
    return names.index((target.name, target.task)) if (target.name, target.task) in names else None


def _rows(evaluation: Evaluation) -> dict[tuple[str, str], Row]:
    """By id and name: the same example may be there twice."""
    rows = predictions.read(evaluation.directory, evaluation.targets, evaluation.said_by)
    return {(row["id"], row["name"]): row for row in rows}


def _tally(evaluation: Evaluation, rows: list[Row], number: int, target: Target) -> Tally | None:
    """Of what was said of these examples; None where nothing was."""
    at = place_of(target, evaluation.said_by)
    if at is None or not rows:
        return None
    answers, said = predictions.judged(rows, number, at)
    model = evaluation.said_by[at].space
    return task_of(target).score(answers, said, model, target.space).tally
