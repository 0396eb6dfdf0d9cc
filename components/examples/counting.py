"""What validate counts: of each example, of those of one content, and of those that are the same.

The same small functions go over the rows in this process and in Beam's, and what they count is
added up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.files import read_jsonl

Row = dict[str, Any]
# What is counted: ("examples", split, label), ("fact", name, value), ("ids",), ("kinds",),
# ("conflicts",), and ("clash", …) for an example that is in two splits.
Key = tuple[Any, ...]


def of_row(row: Row) -> Iterator[Key]:
    yield "examples", row["split"], row["label"]
    for name, value in row["facts"].items():
        yield "fact", name, value


def of_content(rows: Iterable[Row]) -> Iterator[Key]:
    """Of the rows with one id."""
    ordered = sorted(rows, key=lambda row: (row["name"], row["split"], row["label"]))
    yield ("ids",)
    if len({row["label"] for row in ordered}) > 1:
        yield ("conflicts",)
    first = ordered[0]
    for row in ordered:
        if row["split"] != first["split"]:
            yield "clash", first["name"], first["split"], row["name"], row["split"]
            return


def count(index: Path) -> Counter[Key]:
    """How often there is what, in the rows of the file `index`."""
    counted: Counter[Key] = Counter()
    contents: dict[str, list[Row]] = defaultdict(list)
    for row in read_jsonl(index):
        counted.update(of_row(row))
        contents[row["id"]].append({k: row[k] for k in ("name", "split", "label", "same")})
    for rows in contents.values():
        counted.update(of_content(rows))
    counted[("kinds",)] = len({row["same"] for rows in contents.values() for row in rows})
    return counted
