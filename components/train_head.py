"""train_head: a new head, trained on what the frozen backbone gave."""

from __future__ import annotations

import numpy as np
from etils import epy
from pydantic import Field

from components.artifacts import Features, TrainedModel
from components.batches import training_data
from components.job import Job, stage
from components.phases import PhaseConfig, require_finite, run_phase

with epy.lazy_imports():
    import keras

    from models import heads, training


class HeadConfig(PhaseConfig):
    """The new head, and how it is trained."""

    epochs: int = Field(20, ge=1, le=10_000)
    """Most epochs to train."""
    hidden: int = Field(0, ge=0, le=65_536)
    """Units of a hidden layer; 0 for none."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Rate of dropout before each dense layer."""


@stage(version=2)
def train_head(job: Job, features: Features, config: HeadConfig, *, seed: int) -> TrainedModel:
    """Train a head on pooled features; the backbone is not even loaded."""
    data = training_data(job, features, "pooled")
    keras.utils.set_random_seed(seed)
    head = _adapted_head(data[0], features, config, seed)
    phase = run_phase(job, "train_head", head, data, config, seed)
    phase.write(job.directory)
    history = phase.history
    require_finite(history, "head", config)
    head.save_weights(job.directory / "head.weights.h5")
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        hidden=config.hidden,
        dropout=config.dropout,
        kept=f"the head of epoch {history.best_epoch + 1} of {len(history.epochs)}",
        stats={"epochs": len(history.epochs), **history.best},
    )


def _adapted_head(
    data: training.Data, features: Features, config: HeadConfig, seed: int
) -> keras.Model:
    """A new head, adapted to view 0 of the training examples."""
    rows = np.arange(len(data))
    head = heads.build_head(
        features=data.gather(rows[:1], 0).shape[-1],
        num_classes=len(features.model.labels),
        hidden=config.hidden,
        dropout=config.dropout,
        seed=seed,
    )
    size = features.batch_size
    heads.adapt(head, (data.gather(rows[i : i + size], 0) for i in range(0, len(rows), size)))
    return head
