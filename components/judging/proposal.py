"""Something to try next, and what the rules that propose it look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from components.artifacts import Evaluation, Features, Suspects, TrainedModel
from components.files import read_json
from components.judging.judged import METRICS
from components.tasks.protocol import Figure
from components.tasks.table import main_figures


class Proposal(NamedTuple):
    """Something to try.

    Attributes:
        what: to do, a sentence.
        why: the evidence, a sentence.
        flags: to say to the same run; empty where the data has to change.
        gain: what it may be worth, in the first main figure; 0 where nobody knows.
        source: of the rule.
    """

    what: str
    why: str
    flags: str
    gain: float
    source: str


@dataclass(frozen=True)
class Found:
    """What the rules look at."""

    evaluation: Evaluation
    suspects: Suspects
    features: Features
    head: TrainedModel
    tuned: TrainedModel

    @property
    def main(self) -> tuple[str, Figure]:
        """The name of the first main figure that there is, and what it is."""
        known = main_figures(self.evaluation.targets)
        return next((n, f) for n, f in known.items() if n in self.evaluation.figures)

    @property
    def error(self) -> float:
        """How far the main figure is from what a perfect model has."""
        name, figure = self.main
        value = self.evaluation.figures[name]
        return 1 - value if figure.more_is_better else value

    def details(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each target's name → what its task tells of the test."""
        yield from read_json(self.evaluation.directory / METRICS)["targets"].items()


def words(name: str) -> str:
    return name.replace("_", " ")
