"""Learning curves as inline SVG: what was measured, and the band of what may come."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.artifacts import Suspects, TrainedModel
from components.files import read_json
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


@dataclass(frozen=True)
class _Frame:
    """A chart over a logarithmic axis of examples.

    Attributes:
        first: the least number of them, and …
        last: … the greatest.
        low: the least value, and …
        high: … the greatest.
    """

    first: float
    last: float
    low: float
    high: float

    @property
    def bottom(self) -> int:
        return HEIGHT - BOTTOM

    def across(self, size: float) -> float:
        wide = WIDTH - _RIGHT - LEFT
        share = np.log(size / self.first) / (np.log(self.last / self.first) or 1.0)
        return round(float(LEFT + wide * share), 1)

    def up(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low or 1.0)
        return round(self.bottom - (self.bottom - TOP) * share, 1)

    def line(self, sizes: Sequence[float], values: Sequence[float]) -> str:
        pairs = zip(sizes, values, strict=True)
        return " ".join(f"{self.across(size)},{self.up(value)}" for size, value in pairs)

    def point(self, size: float, value: Value, kind: str) -> str:
        x = self.across(size)
        return (
            f'<line class="{kind}" x1="{x}" x2="{x}" y1="{self.up(value.low)}" '
            f'y2="{self.up(value.high)}"/>'
            f'<circle class="{kind} dot" cx="{x}" cy="{self.up(value.value)}" r="3.5"/>'
        )

    def drawn(self, parts: Sequence[str], *, said: str, x: str, y: str, marks: list[int]) -> str:
        """The chart, with its axes."""
        right, middle = WIDTH - _RIGHT, (TOP + self.bottom) / 2
        found = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(said)}">'
        ]
        for step in ticks(self.low, self.high):
            if self.low - 1e-9 <= step <= self.high + 1e-9:
                at = self.up(step)
                found.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
                found.append(text(LEFT - 6, at + 4, f"{step:g}", "end"))
        found += [text(self.across(n), self.bottom + 16, f"{n:,}", "middle") for n in marks]
        found.append(text((LEFT + right) / 2, HEIGHT - 6, x, "middle", "title"))
        found.append(
            f'<text class="title" x="14" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 14 {middle})">{html.escape(y)}</text>'
        )
        return "".join([*found, *parts, "</svg>"])


def chart(told: MoreLabels) -> str:
    """The band begins where the measured sizes end."""
    sizes, measured = told.sizes, told.measured()
    ahead = np.geomspace(sizes[-1], told.curve.farthest, _POINTS).tolist()
    band = [value for size in ahead if (value := told.with_examples(size))]
    ends = [end for value in (*measured, *band) for end in (value.low, value.high)]
    steps = ticks(min(ends), max(ends))
    high = min(steps[-1], 1.0) if told.more_is_better else steps[-1]
    frame = _Frame(sizes[0], ahead[-1], steps[0], max(high, max(ends)))
    edge = frame.line(ahead, [value.high for value in band])
    back = frame.line(ahead[::-1], [value.low for value in band[::-1]])
    parts = [f'<polygon class="band" points="{edge} {back}"/>']
    for where, values, dashes in ((sizes, measured, ""), (ahead, band, "6 3")):
        line = frame.line(where, [value.value for value in values])
        parts.append(f'<polyline class="line1" points="{line}" stroke-dasharray="{dashes}"/>')
    parts += [frame.point(s, v, "line1") for s, v in zip(sizes, measured, strict=True)]
    if sizes[0] < told.answered < ahead[-1]:
        x = frame.across(told.answered)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{frame.bottom}"/>')
        parts.append(text(x + 4, frame.bottom - 6, f"{told.answered:,} there are"))
    said = f"{told.words} over examples: {told.summary()}"
    marks = _marks(sizes[0], ahead[-1])
    return frame.drawn(parts, said=said, x="labelled examples", y=told.words, marks=marks)


def shots(head: TrainedModel) -> dict[str, Any] | None:
    """Accuracy against examples of each class; None where the head is none of few."""
    path = head.directory / "shots.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {"rows": []}
    if not found["rows"]:
        return None
    rows, kinds = found["rows"], ("prototypes", "linear")
    values = {
        kind: [
            Value(
                row[kind] - row[f"{kind}_deviation"],
                row[kind],
                row[kind] + row[f"{kind}_deviation"],
            )
            for row in rows
        ]
        for kind in kinds
    }
    sizes = [row["shots"] for row in rows]
    ends = [end for own in values.values() for value in own for end in (value.low, value.high)]
    steps = ticks(min(ends), min(max(ends), 1.0))
    frame = _Frame(sizes[0], sizes[-1], min(steps[0], min(ends)), max(steps[-1], max(ends)))
    parts = []
    for number, kind in enumerate(kinds):
        name, own = f"line{number + 1}", values[kind]
        line = frame.line(sizes, [value.value for value in own])
        parts.append(
            f'<polyline class="{name}" points="{line}" stroke-dasharray="{"6 3" * number}"/>'
        )
        parts += [frame.point(size, value, name) for size, value in zip(sizes, own, strict=True)]
        parts.append(text(LEFT + 8, TOP + 12 + 16 * number, f"{'– –' if number else '——'} {kind}"))
    said = "; ".join(f"{r['shots']}: {r['prototypes']:.3f} and {r['linear']:.3f}" for r in rows)
    drawn = frame.drawn(
        parts,
        said=f"accuracy of class means and of linear heads over examples of each class: {said}",
        x="examples of each class",
        y="accuracy",
        marks=sizes,
    )
    return found | {"chart": drawn}


def _marks(least: float, most: float) -> list[int]:
    """1, 2 and 5 times powers of ten between two numbers; fewer where there is no room for all."""
    found = [m * 10**p for p in range(8) for m in (1, 2, 5) if least <= m * 10**p <= most]
    return found if len(found) <= 7 else [n for n in found if str(n)[0] in "15"]
