"""Corrections of the data by hand: labels that are others, and examples that are left out.

A patch is a table of examples by their ids, such as `suspects.csv` once a person has looked at it:

```
id           of the example, sha256 of its content
action       keep, drop or relabel; what is empty is kept
suggested    where it is to be relabelled, as what
target       which target's answer that is; empty where there is one alone
```
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.files import sha256, sha256_of_json
from components.section import Digested
from components.tasks.protocol import Column, Target
from components.tasks.table import TASKS
from models.mistakes import Mistake, nearest

NEEDED = ("id", "action")
ACTIONS = ("", "keep", "drop", "relabel")
DROPPED = "was left out by data.patch"


@dataclass(frozen=True)
class Patch(Digested):
    """What to do with which examples.

    Attributes:
        digest: of the file.
        dropped: ids of examples that are left out.
        answers: id → the number of a target → its answer.
    """

    digest: str
    dropped: frozenset[str] = field(default=frozenset(), repr=False)
    answers: Mapping[str, Mapping[int, Any]] = field(default_factory=dict, repr=False)

    def missing(self, ids: set[str]) -> list[str]:
        """Those that are named, and are not among `ids`."""
        return sorted((self.dropped | self.answers.keys()) - ids)


def read(
    paths: Sequence[Path],
    targets: Sequence[Target],
    columns: Sequence[Column],
    *,
    allow_new_labels: bool,
) -> Patch:
    """What files say, the last one that names an example; a `Mistake` names what will not do."""
    dropped: set[str] = set()
    answers: dict[str, dict[int, Any]] = {}
    for path in paths:
        for number, row in enumerate(_rows(path), start=2):
            where, identity = f"{path.name}:{number}", row["id"] or ""
            action = (row["action"] or "").strip()
            if action not in ACTIONS:
                raise Mistake(
                    f"data.patch must have keep, drop or relabel for an action, got {action!r} in "
                    f"{where}"
                )
            if action:
                dropped.discard(identity)
            if action == "drop":
                dropped.add(identity)
            elif action == "relabel":
                at, answer = _relabelled(row, where, targets, columns, allow_new_labels)
                answers.setdefault(identity, {})[at] = answer
    digest = sha256_of_json([sha256(path) for path in paths])
    return Patch(digest, frozenset(dropped), answers)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, headings = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"data.patch must be CSV files, got {str(path)!r}: {error}") from error
    if lacking := [name for name in NEEDED if name not in headings]:
        raise Mistake(
            f"data.patch must have the columns id and action, got {path.name} without {lacking[0]}"
        )
    return rows


def _relabelled(
    row: Mapping[str, Any],
    where: str,
    targets: Sequence[Target],
    columns: Sequence[Column],
    allow_new_labels: bool,
) -> tuple[int, Any]:
    """(number of the target, its new answer)."""
    names = [target.name for target in targets]
    name = (row.get("target") or "").strip()
    if name not in names:
        raise Mistake(
            f"data.patch must name a target that is asked, got {name!r} in {where}: "
            f"{nearest(name, names)}"
        )
    at = names.index(name)
    target, column = targets[at], columns[at]
    cell = row.get("suggested") or ""
    separated = column.model_copy(update={"separator": column.separator or "|"})
    try:
        answer = TASKS[target.task].parse(cell, separated)
    except ValueError as error:
        raise Mistake(f"data.patch must have an answer to relabel, {where} {error}") from error
    if answer is None:
        raise Mistake(f"data.patch must have an answer to relabel, got none in {where}")
    labels, given = target.space.labels, answer if isinstance(answer, list) else [answer]
    unknown = [label for label in given if labels and label not in labels]
    if unknown and not allow_new_labels:
        raise Mistake(
            f"data.patch must name labels that there are, got {unknown[0]!r} in {where}: "
            f"{nearest(str(unknown[0]), labels)}; --data.allow-new-labels if it is new"
        )
    return at, answer


def patched(row: dict[str, Any], patch: Patch | None) -> dict[str, Any]:
    """A row of ingest as the patch has it; of one that is left out, why."""
    if patch is None:
        return row
    if row["id"] in patch.dropped:
        return {"id": row["id"], "name": row["name"], "answers": row["answers"], "reason": DROPPED}
    if changed := patch.answers.get(row["id"]):
        answers = [changed.get(at, answer) for at, answer in enumerate(row["answers"])]
        return row | {"answers": answers}
    return row
