"""How like the examples of a test are to those that a model was trained on.

```
likeness.json          share of test examples that are known, how many are nearly the same as one
                       that was trained on, and the farthest
near_duplicates.csv    a row each of these, and of such validation examples: a patch to be filled in
```
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.files import cell, read_json, write_json
from components.judging.predictions import Row

FILE, NEAR = FILES = ("likeness.json", "near_duplicates.csv")
COLUMNS = (
    *("id", "name", "split", "given", "distance"),
    *("nearest", "nearest_name", "nearest_split", "nearest_given", "action"),
)
# So many of the farthest are named.
_FARTHEST = 12


def write(
    directory: Path,
    rows: Sequence[Row],
    served: Mapping[str, Any] | None,
    validated: Iterable[Mapping[str, Any]],
    known: Callable[[set[str]], Mapping[str, Mapping[str, Any]]],
) -> None:
    """Write both.

    Args:
        rows: of predictions.
        served: what the model's manifest says of its distances; None where it serves none.
        validated: `id`, `nearest` and `distance` of validation examples nearly like training ones.
        known: ids of examples → the id of each → its name and answers.
    """
    told = [row for row in rows if row["valid"] and row["likeness"]] if served else []
    bound = served["same"] if served else 0.0
    test = [{"id": row["id"]} | row["likeness"] for row in told]
    near = [("test", row) for row in test if row["distance"] < bound]
    near += [("validation", row) for row in validated]
    near.sort(key=lambda each: (each[0], each[1]["distance"], each[1]["id"]))
    index = known({row[key] for _, row in near for key in ("id", "nearest")})
    with (directory / NEAR).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for split, row in near:
            own, other = (index.get(row[key], {}) for key in ("id", "nearest"))
            writer.writerow(
                [
                    *(row["id"], own.get("name", ""), split, _answers(own)),
                    *(f"{row['distance']:.3f}", row["nearest"], other.get("name", "")),
                    *(other.get("split", ""), _answers(other), ""),
                ]
            )
    farthest = sorted((row for row in told), key=lambda row: -row["likeness"]["distance"])
    found = {
        "served": served,
        "count": len(told),
        "known": sum(row["likeness"]["known"] for row in told),
        "near": {split: sum(each == split for each, _ in near) for split in ("test", "validation")},
        "farthest": [
            {"name": row["name"], "distance": row["likeness"]["distance"]}
            for row in farthest[:_FARTHEST]
            if not row["likeness"]["known"]
        ],
    }
    write_json(directory / FILE, found)


def read(directory: Path) -> dict[str, Any] | None:
    """What was found, and as `rows` those that are nearly the same; None where nothing was told."""
    if not (directory / FILE).exists():
        return None
    found: dict[str, Any] = read_json(directory / FILE)
    if found["served"] is None:
        return None
    with (directory / NEAR).open(encoding="utf-8", newline="") as file:
        return found | {"rows": list(csv.DictReader(file)), "path": directory / NEAR}


def _answers(row: Mapping[str, Any]) -> str:
    return ", ".join(map(cell, row.get("answers", ())))
