"""What can be asked of an example. A task is a row here and a module beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from components.tasks import number, one_label, several_labels
from components.tasks.protocol import Figure, Target, Task

TASKS: dict[str, Task] = {
    "one_label": one_label,
    "several_labels": several_labels,
    "number": number,
}


def task_of(target: Target) -> Task:
    return TASKS[target.task]


def slices(targets: Iterable[Target]) -> Iterator[tuple[Target, slice]]:
    """Each target, and which of a head's outputs are its own."""
    start = 0
    for target in targets:
        width = task_of(target).units(target.space)
        yield target, slice(start, start + width)
        start += width


def figures_of(targets: Sequence[Target]) -> dict[str, Figure]:
    """Every figure of an evaluation, by its name; the main one of each target comes first in it."""
    return {t.named(figure.name): figure for t in targets for figure in task_of(t).figures}


def main_figures(targets: Sequence[Target]) -> dict[str, Figure]:
    """The main figure of each target, by its name."""
    return {t.named(task_of(t).figures[0].name): task_of(t).figures[0] for t in targets}


def short(targets: Sequence[Target], said: Sequence[dict[str, Any]]) -> list[str]:
    """What was said about all targets, a few cells each, for a person."""
    pairs = zip(targets, said, strict=True)
    return [cell for t, each in pairs for cell in task_of(t).short(each, t.space)]
