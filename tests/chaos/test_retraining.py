"""Nothing of a run stays in the process that ran it."""

from __future__ import annotations

import gc
from pathlib import Path

import keras
import numpy as np
import pytest

from models.optimization import build_optimizer
from tests.chaos.retraining import growth, retrain


def test_no_graph_of_a_training_step_stays() -> None:
    """TensorFlow's registry of gradients kept those of Keras's optimizers for ever."""

    def graphs() -> int:
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    def train() -> None:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        optimizer = build_optimizer(learning_rate=0.1, steps=9, clip_norm=1.0)
        model.compile(optimizer, "mse", jit_compile=False)
        model.train_on_batch(np.ones((8, 4)), np.ones((8, 2)))

    train()
    before = graphs()
    for _ in range(3):
        train()
    assert graphs() == before


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(3000)
def test_fifty_runs_in_a_process(tmp_path: Path) -> None:
    """`python -m tests.chaos.retraining` prints them."""
    held = [*retrain(tmp_path, 50)]
    early, last = held[9], held[-1]
    assert last.threads <= early.threads + 2  # TensorFlow's pools have some more or less.
    assert (last.files, last.processes) == (early.files, early.processes)
    # Measured: 1.8 MiB a run, which TensorFlow keeps of models that were loaded and asked.
    assert growth([row.resident for row in held]) < 2.5
