"""Two evaluations side by side, on the very same examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.artifacts import Evaluation
from components.judging import predictions
from components.judging.predictions import Row
from components.tasks.figures import CONFIDENCE, Comparison, differences
from components.tasks.protocol import Tally, Target
from components.tasks.table import task_of


@dataclass(frozen=True)
class Pair:
    """A target of two evaluations, on the examples that both were asked about.

    Attributes:
        keys: id and name of each example.
        this: its tally; and `other`, of the same examples in the same order.
    """

    target: Target
    keys: list[tuple[str, str]]
    this: Tally
    other: Tally


def pairs(this: Evaluation, other: Evaluation) -> Iterator[Pair]:
    """Each target that both answer."""
    ours, theirs = _rows(this), _rows(other)
    for number, target in enumerate(this.targets):
        at = place_of(target, other.targets)
        if at is None:
            continue
        keys = [k for k, row in ours.items() if k in theirs and row["answers"][number] is not None]
        mine = _tally(this, [ours[key] for key in keys], number, target)
        its = _tally(other, [theirs[key] | _answers(ours[key]) for key in keys], number, target)
        if mine is not None and its is not None:
            yield Pair(target, keys, mine, its)


def compare(
    this: Evaluation, other: Evaluation, confidence: float = CONFIDENCE
) -> list[Comparison]:
    """All figures that both have, on the examples that both were asked about."""
    return [
        Comparison(
            name=pair.target.named(name),
            count=len(pair.keys),
            value=value,
            other=before,
            low=low,
            high=high,
        )
        for pair in pairs(this, other)
        for name, (value, before, (low, high)) in differences(
            pair.this, pair.other, confidence
        ).items()
    ]


def _answers(row: Row) -> Row:
    """The truth is what this evaluation has it for: labels are corrected in time."""
    return {"answers": row["answers"]}


def place_of(target: Target, among: Sequence[Target]) -> int | None:
    """Which of a model's targets answers what is asked; None where none does."""
    names = [(each.name, each.task) for each in among]
    return names.index((target.name, target.task)) if (target.name, target.task) in names else None


def asked_about(evaluation: Evaluation) -> set[tuple[str, str]]:
    """Id and name of each example."""
    return set(_rows(evaluation))


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
