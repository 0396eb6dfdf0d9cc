"""Charts as inline SVG, so that a page needs nothing but itself."""

from __future__ import annotations

import math

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 460, 240, 52, 36, 12, 96
_COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea")


def line_chart(curves: dict[str, list[float]], *, mark: int, x: str, y: str) -> str:
    """Lines over 1, 2, …; a dashed line marks position `mark` (from 0)."""
    values = [v for curve in curves.values() for v in curve if math.isfinite(v)]
    low, high = min([0.0, *values]), max([1e-9, *values]) * 1.05
    length = max(len(curve) for curve in curves.values())

    def at(position: int, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * (position / max(1, length - 1))
        up = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * ((value - low) / (high - low))
        return round(across, 1), round(up, 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{y} by {x}">']
    digits = max(0, 1 - math.floor(math.log10((high - low) / 4)))  # Two that differ, at least.
    for step in range(5):
        value = low + (high - low) * step / 4
        _, up = at(0, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up}" y2="{up}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{up + 4}" text-anchor="end">{value:.{digits}f}</text>'
        )
    for position in sorted({0, length // 2, length - 1}):
        across, _ = at(position, low)
        below = HEIGHT - BOTTOM + 16
        parts.append(f'<text x="{across}" y="{below}" text-anchor="middle">{position + 1}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{x}</text>')
    across, _ = at(mark, low)
    parts.append(
        f'<line class="mark" x1="{across}" x2="{across}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    )
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{a},{b}" for a, b in (at(i, v) for i, v in enumerate(curve)))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        if len(curve) == 1:
            a, b = at(0, curve[0])
            parts.append(f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>')
        row = TOP + 14 + 18 * number
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{row}" style="fill: {colour}">{name}</text>'
        )
    row = TOP + 14 + 18 * len(curves)
    parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{row}" class="dim">┆ chosen</text>')
    return "".join([*parts, "</svg>"])
