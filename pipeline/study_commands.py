"""The commands that find out something without a run; see `studies`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from models.mistakes import Mistake
from pipeline import studies
from pipeline.config import Config
from pipeline.console import open_log
from pipeline.studies import Study


def learning_curve(
    recipe: str,
    config: Config,
    store: Path,
    goal: float | None,
    *,
    as_json: bool,
    log: Literal["text", "json"],
) -> int:
    """Tell how many more labels a goal needs, and what twice as many would be good for."""
    told = studies.learning_curve(Study.of(recipe, config, store, open_log(log)))
    if goal is not None and (why := next(filter(None, (each.check(goal) for each in told)), "")):
        raise Mistake(f"--goal must be {why}, got {goal:g}")
    if as_json:
        _print_json([each.as_json(goal) for each in told])
        return 0
    for each in told:
        wanted = each.goal if goal is None else goal
        said = (each.summary(), each.for_goal(wanted), each.of_classes())
        sys.stdout.write("".join(f"{sentence}\n" for sentence in said if sentence))
    return 0


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
