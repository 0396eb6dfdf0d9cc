"""What a stage is likely to take, by what it took on this machine before."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.records import RunRecord


@dataclass(frozen=True)
class Estimate:
    """What a stage took the last time that it ran."""

    seconds: float
    bytes: int


def estimates(records: Iterable[RunRecord], recipe: str) -> Mapping[str, Estimate]:
    """A stage's name, with its branch → what it took when this recipe last ran it here.

    A stage that was interrupted has no such record: it took longer than is known.

    Args:
        records: the oldest first.
    """
    found: dict[str, Estimate] = {}
    for record in records:
        if record.recipe == recipe and record.host == platform.node():
            for stage in record.stages:
                if stage["status"] == "ran":
                    found[stage["name"]] = Estimate(stage["seconds"], stage.get("bytes", 0))
    return found


def size(count: float) -> str:
    """For people: `512 B`, `1.2 MB`."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
