"""What validate counts: of each example, of those of one content, and of those that are the same.

The same small functions go over the rows in this process and in Beam's, and what they count is
added up.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.files import read_jsonl
from components.tasks.table import TASKS

Row = dict[str, Any]
# What is counted: ("examples", split), ("answer", split, number of the target, what is counted of
# it), ("fact", name, value), ("group", name, split), ("ids",), ("kinds",),
# ("conflicts",), and ("clash", …) for an example that is in two splits.
Key = tuple[Any, ...]


def of_row(row: Row, tasks: tuple[str, ...]) -> Iterator[Key]:
    """Of one example; `tasks` are those of the targets."""
    yield "examples", row["split"]
    for number, (task, answer) in enumerate(zip(tasks, row["answers"], strict=True)):
        for key in TASKS[task].keys(answer):
            yield "answer", row["split"], number, key
    for name, value in row["facts"].items():
        yield "fact", name, value
    if group := row.get("group"):
        yield "group", group, row["split"]


def of_content(rows: Iterable[Row]) -> Iterator[Key]:
    """Of the rows with one id."""
    ordered = sorted(rows, key=lambda row: (row["name"], row["split"], _said(row)))
    yield ("ids",)
    if len({_said(row) for row in ordered}) > 1:
        yield ("conflicts",)
    first = ordered[0]
    for row in ordered:
        if row["split"] != first["split"]:
            yield "clash", first["name"], first["split"], row["name"], row["split"]
            return


def count(index: Path, tasks: tuple[str, ...]) -> Counter[Key]:
    """How often there is what, in the rows of the file `index`."""
    counted: Counter[Key] = Counter()
    contents: dict[str, list[Row]] = defaultdict(list)
    for row in read_jsonl(index):
        counted.update(of_row(row, tasks))
        contents[row["id"]].append({k: row[k] for k in ("name", "split", "answers", "same")})
    for rows in contents.values():
        counted.update(of_content(rows))
    counted[("kinds",)] = len({row["same"] for rows in contents.values() for row in rows})
    return counted


def _said(row: Row) -> str:
    return json.dumps(row["answers"])
