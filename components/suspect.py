"""suspect: labels that are likely wrong, by heads that had not seen them, to be looked at."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import OUTLIERS, SUSPECTS, Features, Suspects
from components.files import cell, write_json
from components.job import Job, stage
from components.tasks.learning import Learning
from components.tasks.table import slices, task_of

with epy.lazy_imports():
    from components.training import fewer, questioning
    from models import novelty


@stage(version=6)
def suspect(job: Job, features: Features, learning: Learning) -> Suspects:
    """Question the answers of the examples to train and to validate with, on stored features.

    And what would be answered with fewer of them, which tells what more would be good for.

    `suspects.csv` can be edited and given back: `--data.patch suspects.csv` leaves out what has the
    action `drop`, and gives what has `relabel` the answer that is in `suggested`. So can
    `outliers.csv`: examples that are like no other.
    """
    asked = questioning.ask(job, features, learning)
    found, twins = [], list[dict[str, Any]]()
    targets = features.model.targets if asked.rows else ()
    for number, (target, columns) in enumerate(slices(targets)):
        answers = [row["answers"][number] for row in asked.rows]
        doubts = task_of(target).doubts(answers, asked.outputs[:, columns], target.space)
        own = task_of(target).twins(answers, asked.outputs[:, columns], target.space)
        twins += [asdict(pair) | {"target": target.name} for pair in own]
        found += [(doubt, target.name, answers[doubt.position]) for doubt in doubts]
    found.sort(key=lambda each: -each[0].doubt)
    _write(
        job.directory / SUSPECTS,
        ("target", "given", "suggested", "doubt"),
        asked,
        (
            (doubt.position, name, cell(given), cell(doubt.suggested), f"{doubt.doubt:.3f}")
            for doubt, name, given in found
        ),
    )
    far = [row for row in np.argsort(-asked.apart) if asked.apart[row] > novelty.OUTLIER]
    _write(
        job.directory / OUTLIERS,
        ("given", "apart"),
        asked,
        (
            (row, ", ".join(map(cell, asked.rows[row]["answers"])), f"{asked.apart[row]:.1f}")
            for row in far
        ),
    )
    write_json(job.directory / "twins.json", twins)
    fewer.measure(job, features, learning, asked.strengths)
    return Suspects(
        directory=job.directory,
        questioned=len(asked.rows),
        why_not=asked.why_not,
        stats={"suspects": len(found), "outliers": len(far), "questioned": len(asked.rows)},
    )


def _write(
    path: Path,
    columns: Sequence[str],
    asked: questioning.Asked,
    rows: Iterable[tuple[Any, ...]],
) -> None:
    """A patch to be filled in.

    Args:
        rows: the position of an example, and what is in `columns`.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rank", "id", "name", "split", *columns, "action"])
        for rank, (position, *told) in enumerate(rows, start=1):
            row = asked.rows[position]
            known = (rank, row["id"], asked.name_of(row["id"]), row["split"])
            writer.writerow([*known, *told, ""])
