"""A learning curve as inline SVG: what was measured, and the band of what may come."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from components.artifacts import Suspects
from components.pages.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, text, ticks
from components.tasks import more_labels
from components.tasks.more_labels import MoreLabels, Value

_RIGHT, _POINTS = 24, 24


def learning_curves(suspects: Suspects) -> list[dict[str, Any]]:
    """For each figure: its chart, and what is said of it."""
    found = []
    for each in more_labels.read(suspects.directory):
        said = [each.summary(), each.for_goal(each.goal), each.of_classes()]
        found.append({"chart": chart(each), "said": [sentence for sentence in said if sentence]})
    return found


def chart(told: MoreLabels) -> str:
    """Examples on a logarithmic axis; the band begins where the measured sizes end."""
    sizes, measured = told.sizes, told.measured()
    ahead = np.geomspace(sizes[-1], told.curve.farthest, _POINTS)
    band = [value for size in ahead if (value := told.with_examples(float(size)))]
    ends = [end for value in (*measured, *band) for end in (value.low, value.high)]
    steps = ticks(min(ends), max(ends))
    steps = [step for step in steps if not told.more_is_better or step <= 1]
    low, high = steps[0], max(steps[-1], max(ends))
    right, bottom = WIDTH - _RIGHT, HEIGHT - BOTTOM
    first, last = np.log(sizes[0]), np.log(ahead[-1])

    def across(size: float) -> float:
        return round(float(LEFT + (right - LEFT) * (np.log(size) - first) / (last - first)), 1)

    def up(value: float) -> float:
        return round(bottom - (bottom - TOP) * (value - low) / (high - low or 1.0), 1)

    name = told.words
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{name} over examples: {told.summary()}")}">'
    ]
    for step in steps:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{up(step)}" y2="{up(step)}"/>'
        )
        parts.append(text(LEFT - 6, up(step) + 4, f"{step:g}", "end"))
    marks = _marks(sizes[0], float(ahead[-1]))
    parts += [text(across(size), bottom + 16, f"{size:,}", "middle") for size in marks]
    parts.append(text((LEFT + right) / 2, HEIGHT - 6, "labelled examples", "middle", "title"))
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text class="title" x="14" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle})">{html.escape(name)}</text>'
    )
    edge = [(across(size), up(value.high)) for size, value in zip(ahead, band, strict=True)]
    edge += [
        (across(size), up(value.low)) for size, value in zip(ahead[::-1], band[::-1], strict=True)
    ]
    points = " ".join(f"{x},{y}" for x, y in edge)
    parts.append(f'<polygon class="band" points="{points}"/>')
    for where, values, dashes in ((sizes, measured, ""), (ahead, band, "6 3")):
        line = " ".join(
            f"{across(size)},{up(value.value)}" for size, value in zip(where, values, strict=True)
        )
        parts.append(f'<polyline class="line1" points="{line}" stroke-dasharray="{dashes}"/>')
    parts += [_point(across(s), up, v) for s, v in zip(sizes, measured, strict=True)]
    if sizes[0] < told.answered < ahead[-1]:
        x = across(told.answered)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(text(x + 4, bottom - 6, f"{told.answered:,} there are"))
    return "".join([*parts, "</svg>"])


def _point(x: float, up: Any, value: Value) -> str:
    return (
        f'<line class="line1" x1="{x}" x2="{x}" y1="{up(value.low)}" y2="{up(value.high)}"/>'
        f'<circle class="line1 dot" cx="{x}" cy="{up(value.value)}" r="3.5"/>'
    )


def _marks(least: float, most: float) -> list[int]:
    """1, 2 and 5 times powers of ten between two numbers; fewer where there is no room for all."""
    found = [m * 10**p for p in range(8) for m in (1, 2, 5) if least <= m * 10**p <= most]
    return found if len(found) <= 7 else [n for n in found if str(n)[0] in "15"]
