"""What the tasks say of what a model has said of the test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import Evaluation
from components.files import read_json, write_json
from components.judging import predictions, slices
from components.judging.comparing import place_of
from components.judging.predictions import Row
from components.tasks.figures import intervals
from components.tasks.protocol import Target
from components.tasks.table import task_of
from models.intervals import Interval

METRICS = "metrics.json"
FILES = (METRICS, predictions.FILE)
# A fact that the model tells itself of an example.
ALIKE = "known"
_FOUND = ("examples", "figures", "intervals", "trivial", "trivially", "judged", "invalid")


@dataclass(frozen=True)
class Known:
    """What is known of examples besides their answers.

    Attributes:
        facts: the id of each → its facts, by name.
        names: of those that make parts.
    """

    facts: Mapping[str, Mapping[str, Any]]
    names: Sequence[str]


NOTHING = Known({}, ())


def write(
    directory: Path,
    rows: list[Row],
    asked: Sequence[Target],
    saying: Sequence[Target],
    known: Known = NOTHING,
) -> None:
    """`predictions.parquet` and `metrics.json`.

    Args:
        asked: the targets of the examples, in the order of the rows' answers.
        saying: those of the model, in the order of what it said.
        known: of the examples, to judge parts of them by themselves.
    """
    # In an order that does not depend on what was asked together.
    rows = sorted(rows, key=lambda row: (row["id"], row["name"]))
    predictions.write(directory, rows, asked, saying)
    write_json(directory / METRICS, _metrics(rows, asked, saying, known))


def read(directory: Path, **facts: Any) -> Evaluation:
    """The evaluation whose files are there."""
    found = read_json(directory / METRICS)
    known = {name: found[name] for name in _FOUND}
    stats = {**known["figures"], "examples": known["examples"], "invalid": known["invalid"]}
    return Evaluation(directory=directory, stats=stats, **known, **facts)


def _yes_or_no(known: bool | None) -> str | None:
    return None if known is None else "yes" if known else "no"


def _metrics(
    rows: list[Row], asked: Sequence[Target], saying: Sequence[Target], known: Known
) -> dict[str, Any]:
    figures: dict[str, float] = {}
    between: dict[str, Interval] = {}
    trivial: dict[str, float] = {}
    trivially: dict[str, str] = {}
    judged: dict[str, int] = {}
    details: dict[str, Any] = {}
    for number, target in enumerate(asked):
        at = place_of(target, saying)
        if at is None:
            continue
        answers, said = predictions.judged(rows, number, at)
        if not answers:
            continue
        scores = task_of(target).score(answers, said, saying[at].space, target.space)
        figure = task_of(target).figures[0]
        main = target.named(figure.name)
        figures |= {target.named(name): value for name, value in scores.figures.items()}
        between |= {target.named(name): ends for name, ends in intervals(scores.tally).items()}
        trivial[main], trivially[main] = scores.trivial, scores.trivially
        judged[main] = len(answers)
        facts = [
            {**known.facts.get(r["id"], {}), ALIKE: _yes_or_no(r["likeness"].get("known"))}
            for r in rows
            if r["answers"][number] is not None
        ]
        parts = slices.rows(scores.tally, figure.name, figure, facts, (*known.names, ALIKE))
        details[target.name] = scores.details | {"slices": parts}
    return {
        "examples": len(rows),
        "invalid": sum(not row["valid"] for row in rows),
        "figures": figures,
        "intervals": between,
        "trivial": trivial,
        "trivially": trivially,
        "judged": judged,
        "targets": details,
    }
