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

    from models import heads


class HeadConfig(PhaseConfig):
    """The new head, and how it is trained."""

    epochs: int = Field(20, ge=1, le=10_000)
    """Most epochs to train."""
    hidden: int = Field(0, ge=0, le=65_536)
    """Units of a hidden layer; 0 for none."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Rate of dropout before each dense layer."""


@stage(version=1)
def train_head(job: Job, features: Features, config: HeadConfig, *, seed: int) -> TrainedModel:
    """Train a head on pooled features; the backbone is not even loaded."""
    data = training_data(features, "pooled", in_memory=True)
    first_views = data[0].gather(np.arange(len(data[0])), 0)
    keras.utils.set_random_seed(seed)
    head = heads.build_head(
        features=first_views.shape[-1],
        num_classes=len(features.model.labels),
        hidden=config.hidden,
        dropout=config.dropout,
        seed=seed,
    )
    heads.adapt(head, first_views)
    history = run_phase(job, "train_head", head, data, config, seed)
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
