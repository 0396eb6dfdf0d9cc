"""What was found out on the way, as a page has it: choices, labels in doubt, what was forgotten."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from components.artifacts import (
    OUTLIERS,
    SUSPECTS,
    Examples,
    ExportedModel,
    Suspects,
    TrainedModel,
)
from components.files import cell, read_json, read_jsonl
from components.pages import charts, maps

# So many labels in doubt are shown, and so many figures of a head that was tried.
_SUSPECTS, _CURVES = 12, 3


def suspects(suspects: Suspects) -> dict[str, Any]:
    """The first of them and of the outliers, and where all are."""
    path, far = suspects.directory / SUSPECTS, suspects.directory / OUTLIERS
    rows, outliers = _rows(path), _rows(far)
    return {
        "far": {"path": far, "count": len(outliers), "rows": outliers[:_SUSPECTS]},
        "path": path,
        "count": len(rows),
        "of": suspects.questioned,
        "why_not": suspects.why_not,
        "rows": rows[:_SUSPECTS],
        "twins": read_json(suspects.directory / "twins.json")[:_SUSPECTS],
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def forgetting(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """What fine-tuning did, as `judging.forgetting` reads it; None where nothing was fine-tuned."""
    if found is None:
        return None
    curve, kept = found["curve"], found["kept"]
    chart = ""
    if curve:
        at = [row["share"] for row in curve].index(found["share"])
        losses = {"validation": [row["loss"] for row in curve]}
        whole = charts.Stretch("", 0, len(curve) - 1, at)
        chart = charts.line_chart(losses, [whole], x=f"point on the way, of {len(curve)}", y="loss")
    beside = kept["blocks"] if kept else [None] * len(found["blocks"])
    return found | {"chart": chart, "rows": list(zip(found["blocks"], beside, strict=True))}


def map_of(exported: ExportedModel, examples: Examples) -> str:
    """Where some of the examples lie by their features, with the first target's labels."""
    places = {row["id"]: row for row in read_jsonl(exported.directory / "map.jsonl")}
    if not places or not exported.targets[0].space.labels:
        return ""
    index = read_jsonl(examples.directory / "index.jsonl")
    told = {row["id"]: row for row in index if row["id"] in places}
    return maps.scatter(
        [
            (places[key]["x"], places[key]["y"], cell(row["answers"][0]), row["name"])
            for key, row in told.items()
        ]
    )


def ladder(tuned: TrainedModel) -> dict[str, Any] | None:
    """What was tried, from cheap to dear; None where one way was given."""
    path = tuned.directory / "ladder.json"
    return read_json(path) if path.exists() else None


def choice(head: TrainedModel) -> dict[str, Any] | None:
    """What was compared to choose the features; None where nothing was."""
    path = head.directory / "choice.json"
    if not path.exists():
        return None
    choice = read_json(path)
    watched = [n for n in choice["tried"][0] if n.startswith("cv_") and n != "cv_loss"][:_CURVES]
    return {
        "why": choice["why"],
        "columns": [name.removeprefix("cv_").replace("_", " ") for name in watched],
        "rows": [
            {
                "name": _taps(row["taps"]),
                "features": row["features"],
                "loss": f"{row['cv_loss']:.4f}",
                "apart": f"{row['worse_by']:+.4f} ± {row['standard_error']:.4f}",
                "watched": [f"{row[name]:.3f}" for name in watched],
                "chosen": row["taps"] in [taps for taps, _ in choice["parts"]],
            }
            for row in choice["tried"]
        ],
    }


def _taps(names: list[str]) -> str:
    """Which taps they are, for a person."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}, {len(names)} taps"
