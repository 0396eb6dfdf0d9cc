"""What a person asks of figures: FIGURE=VALUE, and SLICE: FIGURE>=VALUE."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from components.tasks.protocol import Figure, Target
from components.tasks.table import figures_of, main_figures
from models.mistakes import Mistake, nearest

_PART = re.compile(r"\s*([\w /-]+?)\s*:\s*([\w/]+)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*")


class Part(NamedTuple):
    """A threshold on every part of a slice."""

    slice: str
    figure: str
    at_least: bool
    asked: float


def parts(entries: Sequence[str]) -> Iterator[Part]:
    """What is asked of parts; a `Mistake` where that cannot be read."""
    for entry in entries:
        found = _PART.fullmatch(entry)
        if not found:
            raise Mistake(
                f"bless.slices must be SLICE: FIGURE>=VALUE or SLICE: FIGURE<=VALUE, got {entry!r}"
            )
        name, figure, way, value = found.groups()
        yield Part(name, figure, way == ">=", float(value))


def check_parts(entries: Sequence[str], targets: Sequence[Target], slices: Sequence[str]) -> None:
    """A `Mistake` where there is no such slice, or where it is not judged by that figure."""
    mains = main_figures(targets)
    for part in parts(entries):
        if part.slice not in slices:
            raise Mistake(
                f"bless.slices must name a slice that there is, got {part.slice!r}: "
                f"{nearest(part.slice, slices)}"
            )
        if part.figure not in mains:
            raise Mistake(
                f"bless.slices must name a main figure, got {part.figure!r}: "
                f"{nearest(part.figure, mains)}"
            )


def check_figures(field: str, entries: Sequence[str], targets: Sequence[Target]) -> None:
    """A `Mistake` where a threshold is on what is no figure of these targets."""
    known: Mapping[str, Figure] = figures_of(targets)
    for entry in entries:
        name, _, value = entry.partition("=")
        if name not in known:
            raise Mistake(
                f"bless.{field} must name a figure of the task, got {entry!r}: "
                f"{nearest(name, known)}"
            )
        try:
            asked = float(value)
        except ValueError as error:
            raise Mistake(
                f"bless.{field} must be FIGURE=VALUE, with a number, got {entry!r}"
            ) from error
        if known[name].unit == "share" and not 0 <= asked <= 1:
            raise Mistake(f"bless.{field} must be from 0 to 1 for {name}, got {value}")
