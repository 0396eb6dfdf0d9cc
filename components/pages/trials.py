"""The page of a search: every trial as a line through what was tried, and what mattered."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.pages.charts import text
from components.pages.templates import environment

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 980, 340, 40, 20, 70


def page(told: Mapping[str, Any]) -> str:
    """HTML that needs nothing but itself."""
    template = environment(Path(__file__).parent).get_template("trials.html.jinja")
    return template.render(told=told, chart=parallel(told["trials"], told["best"]))


def parallel(trials: Sequence[Mapping[str, Any]], best: int) -> str:
    """Parallel coordinates (Inselberg 1985): an axis for each setting, and the loss at the end."""
    done = [trial for trial in trials if trial["loss"] is not None]
    keys = list(dict.fromkeys(key for trial in done for key in trial["settings"]))
    axes = [
        _Axis(_title(key, keys), [trial["settings"].get(key) for trial in done]) for key in keys
    ]
    axes.append(_Axis("loss", [trial["loss"] for trial in done]))
    step = (_WIDTH - 2 * _SIDE) / max(1, len(axes) - 1)
    parts = [
        f'<svg class="wide" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(_summary(done, best))}">'
    ]
    for number, axis in enumerate(axes):
        x = round(_SIDE + step * number, 1)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(text(x, _TOP - 22, axis.title, "middle", "title"))
        parts += [text(x + 4, axis.up(value) + 4, label) for value, label in axis.labels()]
    order = sorted(range(len(done)), key=lambda at: done[at]["number"] == best)
    for at in order:
        chosen = done[at]["number"] == best
        points = [
            f"{round(_SIDE + step * number, 1)},{axis.up(axis.values[at])}"
            for number, axis in enumerate(axes)
            if axis.values[at] is not None
        ]
        kind = "line1" if chosen else "faint"
        title = f"trial {done[at]['number'] + 1}: loss {done[at]['loss']:.4f}"
        line = " ".join(points)
        parts.append(f'<polyline class="{kind}" points="{line}"><title>{title}</title></polyline>')
    return "".join([*parts, "</svg>"])


def _title(key: str, keys: Sequence[str]) -> str:
    """The last part of a key; with what comes before where others end so, too."""
    section, _, name = key.rpartition(".")
    alike = sum(other.rpartition(".")[2] == name for other in keys)
    return (f"{section} {name}" if alike > 1 else name).replace("_", " ").replace("learning ", "")


class _Axis:
    """A setting: numbers on a logarithmic scale where they span much, words one below the other."""

    def __init__(self, title: str, values: list[Any]) -> None:
        self.title = title
        self.values = values
        known = [value for value in values if value is not None]
        self._numbers = all(isinstance(value, float) for value in known) and bool(known)
        self._words = list(dict.fromkeys(sorted(map(str, known))))
        if self._numbers:
            low, high = min(known), max(known)
            self._log = low > 0 and high > 20 * low
            self._ends = (self._scaled(low), self._scaled(high))

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def up(self, value: Any) -> float:
        bottom, high = _HEIGHT - _BOTTOM - 10, _TOP + 10
        if self._numbers:
            low, most = self._ends
            share = (self._scaled(value) - low) / ((most - low) or 1.0)
        else:
            share = (self._words.index(str(value)) + 0.5) / len(self._words)
        return round(bottom - (bottom - high) * share, 1)

    def labels(self) -> list[tuple[Any, str]]:
        known = [value for value in self.values if value is not None]
        if self._numbers:
            return [(end, f"{end:.3g}") for end in dict.fromkeys((min(known), max(known)))]
        return [(word, word[-18:]) for word in self._words]


def _summary(done: Sequence[Mapping[str, Any]], best: int) -> str:
    losses = {trial["number"]: trial["loss"] for trial in done}
    return (
        f"{len(done)} trials, their settings and their validation losses; the best is trial "
        f"{best + 1} with {losses[best]:.4f}"
    )
