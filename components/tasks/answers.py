"""What the tasks share: cells of tables, labels and how often each occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from components.tasks.protocol import Space, Target
from models.mistakes import Mistake

# A class this many times more frequent than another is worth a warning.
IMBALANCE = 10


def check_labels(target: Target, before: Space | None) -> None:
    """A `Mistake` where the labels are others than the last blessed model's."""
    if before is None or set(target.space.labels) == set(before.labels):
        return
    labels, known = set(target.space.labels), set(before.labels)
    new, gone = ", ".join(sorted(labels - known)), ", ".join(sorted(known - labels))
    raise Mistake(
        f"data.path must have the labels of the last blessed model, got new labels "
        f"{new or 'none'} and lost labels {gone or 'none'}: "
        f"say --data.allow-new-labels if this is meant"
    )


def imbalance(labels: Sequence[str], train: Counter[str]) -> list[str]:
    """A warning where one label is far more frequent than another."""
    most, least = max(labels, key=lambda c: train[c]), min(labels, key=lambda c: train[c])
    if train[most] <= IMBALANCE * train[least]:
        return []
    return [f"{most} has {train[most]} training examples, {least} has {train[least]}."]


def by_label(space: Space, counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """Split → label → how often it occurs."""
    return {split: {label: n[label] for label in space.labels} for split, n in counts.items()}
