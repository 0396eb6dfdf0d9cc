"""What every task keeps to: a new row of `TASKS` is tested by being one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from components.tasks.protocol import Space
from components.tasks.table import TASKS


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_its_contract(name: str) -> None:
    """Answers survive being stored, become targets, and figures have the names that were given."""
    task = TASKS[name]
    every: dict[str, list[Any]] = {
        "one_label": ["a", "b", "a", "b"],
        "several_labels": [["a"], [], ["a", "b"], ["b"]],
        "number": [1.0, 2.5, -3.0, 4.0],
    }
    answers = every[name]
    space = task.space(answers, Space())
    features = tfds.features.FeaturesDict({"answer": task.feature(space)})
    for answer in [*answers, None]:
        kept = features.serialize_example({"answer": task.stored(answer)})
        written = features.deserialize_example(kept)
        assert task.of_tfds(features["answer"], written["answer"].numpy()) == answer
    targets = task.targets([*answers, None], space)
    assert targets.shape == (5, task.units(space))
    assert targets.dtype == np.float32
    assert task.weights(task.config(), targets).shape == (5,)
    loss = np.asarray(task.loss(task.config(), targets)(targets, np.clip(targets, 0.01, 0.99)))
    assert loss.shape == (5,)
    assert tuple(w.name for w in task.watched(space)) == task.monitors
    outputs = np.clip(targets[:4], 0.05, 0.95) if name != "number" else targets[:4]
    settled = task.settle(space, answers, outputs, 0.5)
    valid = tf.constant([True, True, True, False])
    served = {k: v.numpy() for k, v in task.answer(tf.constant(outputs), valid, settled).items()}
    said = task.rows(served, settled)
    assert len(said) == 4
    assert [column for column, _ in task.columns(settled)] == list(said[0])
    scores = task.score(answers, said, settled, space)
    assert list(scores.figures) == [figure.name for figure in task.figures]
    assert task.evidence(served).shape == (4,)
    for position, *words in task.mistakes(answers, said, space):
        assert 0 <= position < 4
        assert len(words) == 3
    assert task.card(settled)
    assert task.short(said[0], settled)[0]
    perfect = {
        k: v.numpy()
        for k, v in task.answer(tf.constant(outputs), tf.fill([4], True), settled).items()
    }
    best = task.score(answers, task.rows(perfect, settled), settled, space)
    main = task.figures[0]
    assert main.gain(best.figures[main.name] - best.trivial, best.trivial) > 0
