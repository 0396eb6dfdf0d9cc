"""What a stage is likely to take, by what it took on this machine before."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.records import RunRecord


@dataclass(frozen=True)
class Estimate:
    """What a stage took the last time that it ran; see `Step`."""

    seconds: float
    bytes: int
    written: int = 0


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
                    found[stage["name"]] = Estimate(
                        stage["seconds"], stage.get("bytes", 0), stage.get("written", 0)
                    )
    return found
