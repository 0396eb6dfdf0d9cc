"""Charts as inline SVG, so that a page needs nothing but itself.

Colours are the page's own variables, so that they follow light and dark; no line is told by its
colour alone.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 490, 260, 64, 44, 14, 112
# A line's class (its colour) and its dashes, in their order.
_DASHES = ("", "6 3", "2 3", "9 3 2 3")
# So many pairs of labels that are taken for one another are named.
_PAIRS = 12


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that span low … high.

    After Heckbert 1990, Nice numbers for graph labels (Graphics Gems).
    """
    span = (high - low) or abs(high) or 1.0
    raw = span / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


class Stretch(NamedTuple):
    """A part of a chart's length, such as a phase of training; positions from 0.

    Attributes:
        name: of the part, written where it begins; empty for none.
        start: its first position, …
        end: … and its last.
        chosen: the position that is chosen.
        waited: whether what comes after that was waiting for a better one in vain.
    """

    name: str
    start: int
    end: int
    chosen: int
    waited: bool = False


def line_chart(
    curves: Mapping[str, Sequence[float]], stretches: Sequence[Stretch], *, x: str, y: str
) -> str:
    """Lines over 1, 2, …; dashed lines mark what is chosen, a band how long a better one was
    waited for.

    A loss begins at 0; anything else at what it has least.
    """
    values = [v for curve in curves.values() for v in curve if math.isfinite(v)] or [0.0]
    least, most = min([0.0, *values] if "loss" in y else values), max(values)
    if most - least <= 1e-9 * max(1.0, abs(most)):  # A straight line, which is to be seen.
        least = most - (abs(most) / 10 if abs(most) > 1e-6 else 1.0)
    steps = ticks(least, most)
    low, high = steps[0], steps[-1]
    length = max(len(curve) for curve in curves.values())
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(position: float, value: float) -> tuple[float, float]:
        across = LEFT + (right - LEFT) * (position / max(1, length - 1))
        up = bottom - (bottom - TOP) * ((value - low) / (high - low))
        return round(across, 1), round(up, 1)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(_summary(curves, stretches, y))}">'
    ]
    for part in stretches:
        if part.waited:
            (a, _), (b, _) = at(part.chosen, low), at(part.end, low)
            parts.append(
                f'<rect class="band" x="{a}" width="{round(b - a, 1)}" y="{TOP}" '
                f'height="{bottom - TOP}"/>'
            )
    for value in steps:
        _, up = at(0, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{up}" y2="{up}"/>')
        parts.append(text(LEFT - 6, up + 4, f"{value:g}", "end"))
    for epoch in _whole(length):
        across, _ = at(epoch - 1, low)
        parts.append(text(across, bottom + 16, str(epoch), "middle"))
    parts.append(text((LEFT + right) / 2, HEIGHT - 6, x, "middle", "title"))
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text class="title" x="14" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle})">{html.escape(y)}</text>'
    )
    for part in stretches:
        across, _ = at(part.chosen, low)
        parts.append(f'<line class="mark" x1="{across}" x2="{across}" y1="{TOP}" y2="{bottom}"/>')
        if part.name:
            across, _ = at(max(part.start - 0.5, 0), low)
            parts.append(text(across + 4, TOP + 10, part.name))
        if part.start:
            parts.append(
                f'<line class="edge" x1="{across}" x2="{across}" y1="{TOP}" y2="{bottom}"/>'
            )
    for number, (name, curve) in enumerate(curves.items()):
        kind, dashes = f"line{number % 4 + 1}", _DASHES[number % 4]
        finite = [(i, v) for i, v in enumerate(curve) if math.isfinite(v)]
        points = " ".join(f"{a},{b}" for a, b in (at(i, v) for i, v in finite))
        parts.append(f'<polyline class="{kind}" points="{points}" stroke-dasharray="{dashes}"/>')
        if len(finite) == 1:
            a, b = at(*finite[0])
            parts.append(f'<circle class="{kind}" cx="{a}" cy="{b}" r="3"/>')
        row = TOP + 14 + 18 * number
        parts.append(
            f'<line class="{kind}" x1="{right + 8}" x2="{right + 26}" y1="{row - 4}" '
            f'y2="{row - 4}" stroke-dasharray="{dashes}"/>'
        )
        parts.append(text(right + 30, row, name))
    row = TOP + 14 + 18 * len(curves)
    parts.append(
        f'<line class="mark" x1="{right + 17}" x2="{right + 17}" y1="{row - 10}" y2="{row + 2}"/>'
    )
    parts.append(text(right + 30, row, "chosen"))
    if any(part.waited for part in stretches):
        parts.append(
            f'<rect class="band" x="{right + 8}" width="18" y="{row + 8}" height="12"/>'
            + text(right + 30, row + 18, "patience")
        )
    return "".join([*parts, "</svg>"])


class Whisker(NamedTuple):
    """A figure with its interval: a row of `whiskers`.

    Attributes:
        low: and `high`: None where it has no interval.
        text: what is said of it at the end of its row.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    text: str


def whiskers(rows: Sequence[Whisker], title: str) -> str:
    """A dot and the line of its interval for each row, on one axis; the first is the subject."""
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    steps = ticks(min(ends), max(ends), 6)
    low, wide = steps[0], (steps[-1] - steps[0]) or 1.0
    left, right, step = 236, 510, 26
    bottom = TOP + step * len(rows)

    def at(value: float) -> float:
        return round(left + (right - left) * (value - low) / wide, 1)

    said = "; ".join(f"{row.name} {row.text}" for row in rows)
    parts = [
        f'<svg class="whiskers" viewBox="0 0 730 {bottom + BOTTOM}" role="img" '
        f'aria-label="{html.escape(f"{title}: {said}")}">'
    ]
    for value in steps:
        parts.append(
            f'<line class="grid" x1="{at(value)}" x2="{at(value)}" y1="{TOP}" y2="{bottom}"/>'
        )
        parts.append(text(at(value), bottom + 16, f"{value:g}", "middle"))
    parts.append(text((left + right) / 2, bottom + 36, title, "middle", "title"))
    for number, row in enumerate(rows):
        y = TOP + step * (number + 0.5)
        kind = "line1" if number == 0 else "line2"
        parts.append(text(left - 12, y + 4, row.name, "end", "subject" if number == 0 else ""))
        if row.low is not None and row.high is not None:
            parts.append(
                f'<line class="{kind}" x1="{at(row.low)}" x2="{at(row.high)}" y1="{y}" y2="{y}"/>'
            )
        parts.append(f'<circle class="{kind} dot" cx="{at(row.value)}" cy="{y}" r="4.5"/>')
        parts.append(text(right + 12, y + 4, row.text))
    return "".join([*parts, "</svg>"])


def reliability(bins: Sequence[Mapping[str, float]]) -> str:
    """How often those are right that are about as sure; on the line, as often as they say."""
    most = max((row["count"] for row in bins), default=1)
    said = "; ".join(
        f"{row['count']:.0f} at {100 * row['confidence']:.0f} %: {100 * row['right']:.0f} % right"
        for row in bins
    )
    parts = [
        f'<svg class="square" viewBox="0 0 340 320" role="img" '
        f'aria-label="{html.escape(f"Reliability: {said}")}">'
    ]
    for tick in range(0, 101, 20):
        at = 260 * tick / 100
        parts.append(f'<line class="grid" x1="60" x2="320" y1="{270 - at}" y2="{270 - at}"/>')
        parts.append(text(54, 274 - at, f"{tick}", "end"))
        parts.append(text(60 + at, 286, f"{tick}", "middle"))
    parts.append('<line class="mark" x1="60" y1="270" x2="320" y2="10"/>')
    for row in bins:
        x, y = 60 + 260 * row["confidence"], 270 - 260 * row["right"]
        radius = 3 + 7 * math.sqrt(row["count"] / most)
        title = f"{row['count']:.0f} answers, {100 * row['right']:.1f} % right"
        parts.append(
            f'<circle class="points" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{title}</title></circle>"
        )
    parts.append(text(190, 308, "probability that is said, %", "middle", "title"))
    parts.append(
        '<text class="title" x="14" y="140" text-anchor="middle" '
        'transform="rotate(-90 14 140)">right, %</text>'
    )
    return "".join([*parts, "</svg>"])


def heat_map(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix as shares of each row: what is right is round, mistakes are square."""
    cell, size = 12, len(labels)
    margin = 8 + 6 * min(18, max(map(len, labels), default=1))
    side = margin + cell * size
    parts = [
        f'<svg class="heat" viewBox="0 0 {side} {side}" style="max-width: {max(460, 2 * side)}px" '
        f'role="img" aria-label="Confusion of '
        f'{size} labels: the worst pairs are in the table">'
    ]
    for row, (label, values) in enumerate(zip(labels, counts, strict=True)):
        at, bare = margin + cell * row, label[:18] or "invalid"
        name = html.escape(bare)
        parts.append(text(margin - 4, at + cell * 0.75, bare, "end", "label"))
        parts.append(
            f'<text class="label" x="{at + cell * 0.75}" y="{margin - 4}" '
            f'transform="rotate(-90 {at + cell * 0.75} {margin - 4})">{name}</text>'
        )
        total = sum(values)
        for column, count in enumerate(values):
            if count:
                shown = _cell(row == column, margin + cell * column, at, cell, count / total)
                said = html.escape(f"{label} taken for {labels[column] or 'invalid'}: {count}")
                parts.append(f"<g>{shown}<title>{said}</title></g>")
    edge = margin + cell * size
    parts.append(
        f'<rect class="frame" x="{margin}" y="{margin}" width="{edge - margin}" '
        f'height="{edge - margin}"/>'
    )
    return "".join([*parts, "</svg>"])


def worst_pairs(
    labels: Sequence[str], counts: Sequence[Sequence[int]]
) -> list[tuple[str, str, int, float]]:
    """(true, taken for, how often, share of the true one) of the most frequent mistakes."""
    found = [
        (labels[row], labels[column] or "invalid", count, count / sum(values))
        for row, values in enumerate(counts)
        for column, count in enumerate(values)
        if count and row != column
    ]
    return sorted(found, key=lambda pair: (-pair[2], -pair[3], pair[:2]))[:_PAIRS]


def _cell(is_right: bool, x: float, y: float, cell: int, share: float) -> str:
    opacity = round(0.15 + 0.85 * share, 2)
    if is_right:
        return (
            f'<circle class="right" cx="{x + cell / 2}" cy="{y + cell / 2}" r="{cell / 2 - 0.5}" '
            f'fill-opacity="{opacity}"/>'
        )
    return (
        f'<rect class="wrong" x="{x + 0.5}" y="{y + 0.5}" width="{cell - 1}" height="{cell - 1}" '
        f'fill-opacity="{opacity}"/>'
    )


def _whole(length: int) -> list[int]:
    """Round epochs from 1 to `length`, no more than there is room for."""
    inner = [int(v) for v in ticks(0, length, 6) if 1 < v < length and v == int(v)]
    gap = length / 12
    return sorted({1, *(v for v in inner if v - 1 > gap and length - v > gap), length})


def text(x: float, y: float, content: str, anchor: str = "start", kind: str = "") -> str:
    """A word at a place of a chart."""
    of_kind = f' class="{kind}"' if kind else ""
    return (
        f'<text{of_kind} x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}">'
        f"{html.escape(content)}</text>"
    )


def _summary(curves: Mapping[str, Sequence[float]], stretches: Sequence[Stretch], y: str) -> str:
    """The chart in words."""
    said = [
        f"{name} from {curve[0]:.3g} to {curve[-1]:.3g}" for name, curve in curves.items() if curve
    ]
    epochs = max(map(len, curves.values()))
    kept = " and ".join(str(part.chosen + 1) for part in stretches)
    return f"{y} over {epochs} epochs: {', '.join(said)}; kept: {kept}"


def figures_of_history(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is known of every epoch both in training and in validation, the loss first."""
    known = epochs[0] if epochs else {}
    return sorted((n for n in known if f"val_{n}" in known), key=lambda name: name != "loss")
