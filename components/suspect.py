"""suspect: labels that are likely wrong, by heads that had not seen them, to be looked at."""

from __future__ import annotations

import csv
from dataclasses import asdict
from typing import Any

from etils import epy

from components.artifacts import Features, Suspects
from components.files import cell, write_json
from components.job import Job, stage
from components.tasks.learning import Learning
from components.tasks.table import slices, task_of

with epy.lazy_imports():
    from components.training import questioning

COLUMNS = ("rank", "id", "name", "split", "target", "given", "suggested", "doubt", "action")


@stage(version=3)
def suspect(job: Job, features: Features, learning: Learning) -> Suspects:
    """Question the answers of the examples to train and to validate with, on stored features.

    And what would be answered with fewer of them, which tells what more would be good for.

    `suspects.csv` can be edited and given back: `--data.patch suspects.csv` leaves out what has the
    action `drop`, and gives what has `relabel` the answer that is in `suggested`.
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
    write_json(job.directory / "twins.json", twins)
    found.sort(key=lambda each: -each[0].doubt)
    with (job.directory / "suspects.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for rank, (doubt, name, given) in enumerate(found, start=1):
            row = asked.rows[doubt.position]
            told = [name, cell(given), cell(doubt.suggested), f"{doubt.doubt:.3f}", ""]
            writer.writerow([rank, row["id"], asked.name_of(row["id"]), row["split"], *told])
    write_json(job.directory / "learning_curve.json", asked.curve)
    return Suspects(
        directory=job.directory,
        questioned=len(asked.rows),
        why_not=asked.why_not,
        stats={"suspects": len(found), "questioned": len(asked.rows)},
    )
