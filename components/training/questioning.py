"""What linear heads say of examples that they have not seen, on features that are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.artifacts import Features
from components.files import read_jsonl
from components.frozen.batches import Inputs, inputs_of
from components.job import Job
from components.tasks.learning import Learning
from components.training import choosing
from models import linear
from models.designs import Scale, axes

# So many are questioned together: what it takes grows with their square, and there are enough of
# them to learn from. Of more than this in all, the first are, in the order of a hash.
_TOGETHER, _MOST, _FOLDS = 800, 12_000, 5


@dataclass(frozen=True)
class Asked:
    """Examples, and what was said of them.

    Attributes:
        rows: id, split and answers of each.
        outputs: (examples, outputs) of heads that had not seen them.
        why_not: why nobody was asked; empty where they were.
    """

    rows: list[dict[str, Any]]
    outputs: np.ndarray
    why_not: str = ""
    _names: dict[str, str] = field(default_factory=dict, repr=False)

    def name_of(self, identity: str) -> str:
        return self._names.get(identity, "")


def ask(job: Job, features: Features, learning: Learning) -> Asked:
    """Leave each example out in turn, a fifth of them at a time, and ask about it."""
    stored = [name for name in ("taps", "pooled") if name in features.keys]
    if not stored:
        return Asked([], np.zeros((0, 0)), "no features of the whole network are stored")
    both = inputs_of(job, features, stored[0])
    at = [(part, row) for part in (0, 1) for row in range(len(both[part]))]
    at.sort(key=lambda place: str(both[place[0]].rows[place[1]]["id"]))
    at = at[:_MOST]
    rounds = np.array_split(np.arange(len(at)), -(-len(at) // _TOGETHER))
    rows, outputs = [], []
    with linear.one_thread():
        for number, chosen in enumerate(rounds, start=1):
            some = [at[i] for i in chosen]
            rows += [both[part].rows[row] for part, row in some]
            outputs.append(_said(features, learning, both, some))
            job.progress("rounds of labels questioned", number, len(rounds))
    index = read_jsonl(features.examples.directory / "index.jsonl")
    wanted = {row["id"] for row in rows}
    names = {row["id"]: row["name"] for row in index if row["id"] in wanted}
    return Asked(rows, np.concatenate(outputs), "", names)


def _said(
    features: Features,
    learning: Learning,
    both: tuple[Inputs, Inputs],
    some: list[tuple[int, int]],
) -> np.ndarray:
    """(examples, outputs), in the order of `some`: (0 to train and 1 to validate with, row)."""
    parts = [np.array([row for part, row in some if part == which], int) for which in (0, 1)]
    array = np.concatenate(
        [inputs.gather(rows, 0) for inputs, rows in zip(both, parts, strict=True) if len(rows)]
    )
    standard = _scale(features, array)(array)
    coordinates = axes(np.asarray(standard @ standard.T, np.float64))
    questions = choosing.questions_of(features, learning, both, parts)
    # Training and validation examples stand one after the other: dealt, each fold has of both.
    folds = np.arange(len(array)) % _FOLDS
    said = [linear.cross_validate(coordinates, each, folds).said for each in questions]
    order = np.argsort([part for part, _ in some], kind="stable")
    found = np.empty((len(some), sum(each.shape[1] for each in said)))
    found[order] = np.concatenate(said, axis=1)
    return found


def _scale(features: Features, array: np.ndarray) -> Scale:
    scale = Scale.of([array])
    if "taps" not in features.keys:
        return scale
    weights = [choosing.weight_of(tap, features) for tap in features.taps]
    return scale.weighed(np.repeat(weights, list(features.taps.values())))
