"""Points in a plane, as inline SVG."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

from components.pages import charts

# Marks of groups: a shape around (0, 0) each, so that none is told by its colour alone.
_MARKS = (
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0",
    "M-4 -4H4V4H-4Z",
    "M0 -5L5 4H-5Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M-5 -4H5L0 5Z",
    "M-1.5 -5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
)


def scatter(points: Sequence[tuple[float, float, str, str]]) -> str:
    """(x, y, group, name) each: a mark that is its group's, the frequent ones first; and a legend.

    What is in no group that has a mark of its own is a grey dot.
    """
    counts = Counter(group for _, _, group, _ in points)
    groups = [group for group, _ in counts.most_common(len(_MARKS))]
    x, y = [point[0] for point in points], [point[1] for point in points]
    wide, high = ((max(values) - min(values)) or 1.0 for values in (x, y))
    parts = [
        f'<svg class="map" viewBox="0 0 640 420" role="img" aria-label="Map of {len(points)} '
        f'examples, in groups {html.escape(", ".join(groups))}">'
    ]
    for across, up, group, name in points:
        at = (10 + 460 * (across - min(x)) / wide, 410 - 400 * (up - min(y)) / high)
        mark = _mark(groups.index(group) if group in groups else None, *at)
        parts.append(f"<g>{mark}<title>{html.escape(f'{group}: {name}')}</title></g>")
    for number, group in enumerate(groups):
        parts.append(_mark(number, 490, 20 + 20 * number))
        parts.append(charts.text(502, 24 + 20 * number, group[:20]))
    if len(counts) > len(groups):
        parts.append(_mark(None, 490, 20 + 20 * len(groups)))
        parts.append(charts.text(502, 24 + 20 * len(groups), f"{len(counts) - len(groups)} others"))
    return "".join([*parts, "</svg>"])


def _mark(number: int | None, x: float, y: float) -> str:
    if number is None:
        return f'<circle class="other" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path class="mark{number % 4 + 1}" d="{_MARKS[number]}" {place}/>'
