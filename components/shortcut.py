"""shortcut: what can be said of an example without looking at it, which every model must beat.

Where that is much, the answer is in the files: crops of different sizes, pictures of two cameras,
texts of two lengths. Shortcuts: Geirhos et al. 2020 (arXiv:2004.07780).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import TRAINED_ON, Evaluation, Examples
from components.files import read_jsonl
from components.job import Job, stage
from components.judging import judged
from components.modalities.table import MODALITIES
from components.tasks.learning import Learning
from components.tasks.protocol import Said, Target
from components.tasks.table import slices, task_of
from models import linear, strata
from models.designs import Dense, Scale
from models.linear import Question

with epy.lazy_imports():
    import tensorflow as tf

# So many examples choose how simple the model is to be, in so many parts in turn.
_CHOOSERS, _FOLDS = 5000, 5


@stage(version=2)
def shortcut(job: Job, examples: Examples, learning: Learning) -> Evaluation:
    """Fit a linear model to what ingest has noted of the examples, and judge it like any other."""
    job.doing("fitting a line to what is known without looking")
    measured = MODALITIES[examples.modality].raw.measured
    trained: list[dict[str, Any]] = []
    tested: list[dict[str, Any]] = []
    for row in read_jsonl(examples.directory / "index.jsonl"):
        some = trained if row["split"] in TRAINED_ON else tested
        some.append({"id": row["id"], "name": row["name"], "answers": row["answers"]})
        some[-1]["measured"] = measured(row["facts"])
    known = _array(trained)
    scale = Scale.of([known])
    known, asked = (np.asarray(scale(x), np.float64) for x in (known, _array(tested)))
    saying: list[Target] = []
    said: list[list[Said]] = []
    with linear.one_thread():
        for number, (target, _) in enumerate(slices(examples.targets)):
            answers = [row["answers"][number] for row in trained]
            settled, own = _fitted(target, answers, known, asked, learning)
            saying.append(settled)
            said.append(own)
    rows = [
        {
            "id": row["id"],
            "name": row["name"],
            "answers": row["answers"],
            "valid": True,
            "said": [own[position] for own in said],
            "likeness": {},
        }
        for position, row in enumerate(tested)
    ]
    judged.write(job.directory, rows, examples.targets, saying)
    return judged.read(job.directory, model=None, targets=examples.targets, said_by=tuple(saying))


def _array(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([row["measured"] for row in rows], np.float64)


def _fitted(
    target: Target,
    answers: list[Any],
    known: np.ndarray,
    asked: np.ndarray,
    learning: Learning,
) -> tuple[Target, list[Said]]:
    """The target with what is settled, and what is said of the examples `asked`.

    Args:
        known: (examples, numbers) of those with the answers; and `asked`, of others.
    """
    task, own = task_of(target), learning.section(target)
    truth = task.targets(answers, target.space)
    there = np.array([answer is not None for answer in answers])
    weights = task.weights(own, truth) * there
    question = Question(truth, weights, task.activation, task.slope(own, truth))
    some = np.arange(min(len(answers), _CHOOSERS))
    folds = strata.folds([truth[some]], _FOLDS)
    path = linear.cross_validate(known[some], question.of(some), folds)
    space = task.settle(target.space, [answers[n] for n in some], path.said)
    outputs = linear.solve(Dense.of(known), question, path.strength)(asked)
    valid = tf.ones(len(outputs), tf.bool)
    served = task.answer(tf.constant(outputs, tf.float32), valid, space)
    named = {name: value.numpy() for name, value in served.items()}
    return target.model_copy(update={"space": space}), task.rows(named, space)
