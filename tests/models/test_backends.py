"""The same phases on every backend that is installed: no training code is TensorFlow's own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from models import backbones
from tests.conftest import ROOT, write_classes


def phases(directory: Path, weights: Path) -> dict[str, float]:
    """Extraction, a head and fine-tuning of a network, on this process's backend."""
    from components.fine_tune import FineTuneConfig, fine_tune
    from components.modalities.giants import Pretrained
    from components.tasks.learning import Learning
    from components.train_head import train_head
    from components.training.head_config import HeadConfig
    from tests.components.frozen.test_activations import extracted
    from tests.helpers import PLAIN, assembled, ingested, job

    examples = ingested(directory / "examples", write_classes(directory / "photos", 40))
    pretrained = Pretrained("digest", "of a test", weights)
    model = assembled(directory, examples, pretrained, backbone="ConvNet", input_size=16)
    features = extracted(directory / "features", model, examples, 1, views=2, dtype="float32")
    head = HeadConfig(epochs=30, learning_rate=0.01, patience=30, dropout=0.0)
    trained = train_head(job(directory / "head"), features, head, PLAIN, seed=0)
    # Everything that a step can have: each must mean the same everywhere.
    tune = FineTuneConfig(
        unfreeze=1,
        epochs=4,
        learning_rate=1e-4,  # Higher, and rounding alone makes them differ: it blows up.
        weight_decay=0.01,
        clip_norm=1.0,
        ema=0.5,
        layer_decay=0.5,
    )
    smooth = Learning(own={"one_label": {"label_smoothing": 0.1}})
    tuned = fine_tune(job(directory / "tuned"), trained, features, tune, smooth, seed=0)
    return {
        "accuracy": tuned.stats["val_accuracy"],
        "head": trained.stats["val_loss"],
        "tuned": tuned.stats["val_loss"],
    }


def phases_on(backend: str, directory: Path, weights: Path) -> dict[str, float]:
    """`phases` in a process of its own."""
    code = (
        "import json, sys, pathlib, tests.models.test_backends as t;"
        "sys.stdout.write('RESULT' + json.dumps(t.phases(*map(pathlib.Path, sys.argv[1:]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory), str(weights)],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, float] = json.loads(done.stdout.rpartition("RESULT")[2])
    return result


@pytest.mark.slow
@pytest.mark.backends
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_phases_end_the_same(backend: str, tmp_path: Path) -> None:
    """Not only as accurate: without dropout, with the same losses."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    weights = tmp_path / "backbone.weights.h5"  # No two backends draw the same random numbers.
    keras.utils.set_random_seed(1)
    backbones.build_backbone("ConvNet", input_size=16).save_weights(weights)
    ours, other = (phases_on(name, tmp_path / name, weights) for name in ("tensorflow", backend))
    assert ours["accuracy"] > 0.8
    assert other == pytest.approx(ours, abs=2e-3)
