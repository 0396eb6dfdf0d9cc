"""resplit: the same stored examples, others of them to train and to validate with."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.artifacts import Features
from components.files import read_jsonl, write_jsonl
from components.job import Job, stage
from components.tasks.table import task_of
from models import strata


@stage(version=2, plain=True)
def resplit(job: Job, features: Features, fold: int, folds: int) -> Features:
    """A fold of all examples to validate with, in proportion, and the others to train with.

    Args:
        fold: which one, from 0; as many as there are `folds` for none: all are trained with, and
            those that were to validate with are looked at, too, though they say nothing any more.
    """
    rows = list(read_jsonl(features.directory / "rows.jsonl"))
    # Of what comes after a model that is settled there are none.
    dealt = strata.folds(_targets(features, rows), folds) if rows else np.zeros(0)
    split = list(_split(rows, dealt, fold, whole=fold == folds))
    write_jsonl(job.directory / "rows.jsonl", split)
    shutil.copy2(features.directory / "shards.json", job.directory)
    counts = dict(Counter(row["split"] for row in split))
    return features.model_copy(
        update={"directory": job.directory, "ref": "", "digest": "", "counts": counts}
    )


def _targets(features: Features, rows: list[dict[str, Any]]) -> list[np.ndarray]:
    return [
        task_of(target).targets([row["answers"][number] for row in rows], target.space)
        for number, target in enumerate(features.model.targets)
    ]


def _split(
    rows: list[dict[str, Any]], dealt: np.ndarray, fold: int, *, whole: bool
) -> Iterator[dict[str, Any]]:
    for row, own in zip(rows, dealt, strict=True):
        # Of those that were to validate with one view is stored.
        alone = {"alone": True} if row["split"] == "validation" or row.get("alone") else {}
        where = "validation" if not whole and own == fold else "train"
        yield row | alone | {"split": where}
    if whole:
        yield from (row for row in rows if row["split"] == "validation")
