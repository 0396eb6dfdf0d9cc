"""The verdict in words for somebody who knows neither figures nor networks."""

from __future__ import annotations

from collections.abc import Iterator

from components.artifacts import SoFar
from components.tasks.figures import Comparison
from components.tasks.protocol import Figure
from components.tasks.table import main_figures

_RIVALS = {
    "blessed": "the model of the last time",
    "control": "a model that learned from these examples alone, without the giant",
    "shortcut": "a guess from what is known without looking at them",
}
_SAID = {
    "better": "surely better than {rival}, {other}",
    "worse": "surely worse than {rival}, {other}",
    "the same": "as good as {rival}, {other}",
    "cannot tell": "not to be told from {rival}, {other}",
}


def in_words(so_far: SoFar) -> list[str]:
    """A sentence or two for each target, and what becomes of the model."""
    evaluation = so_far.evaluation
    found = []
    for name, figure in main_figures(evaluation.targets).items():
        if name not in evaluation.figures:
            continue
        target = name.rpartition("/")[0]
        value, (low, high) = evaluation.figures[name], evaluation.intervals[name]
        found.append(
            f"{f'{target}: ' if target else ''}{_in_words(figure, value)}; with other examples of "
            f"the kind it would be {figure.between(low, high)}."
        )
        compared = {one.rival: one for one in so_far.blessing.comparisons if one.name == name}
        beside = list(_beside(figure, compared))
        if beside:
            found.append(f"That is {'; '.join(beside)}.")
    pushed = so_far.pushed
    if pushed.path:
        found.append("It is ready to be served.")
    elif not so_far.blessing.blessed:
        found.append(f"It is not served. {so_far.blessing.reasons[0]}")
    return found


def _in_words(figure: Figure, value: float) -> str:
    return figure.words.format(figure.counted(value))


def _beside(figure: Figure, compared: dict[str, Comparison]) -> Iterator[str]:
    for rival, what in _RIVALS.items():
        if rival in compared:
            one = compared[rival]
            other = f"for which it is {figure.counted(one.other)}"
            said = _SAID[one.verdict(figure)].format(rival=what, other=other)
            if one.low == one.high:  # Nobody asked how sure it is.
                said = said.removeprefix("surely ")
            more = one.verdict(figure) == "cannot tell" and one.telling()
            yield f"{said}: more test examples would tell" if more else said
