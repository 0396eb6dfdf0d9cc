"""Heads for the targets of a run, new ones and trained ones."""

from __future__ import annotations

from collections.abc import Sequence

from etils import epy

from components.artifacts import HeadForm, TrainedModel
from components.frozen.networks import open_backbone
from components.tasks.protocol import Target
from components.tasks.table import task_of

with epy.lazy_imports():
    import keras

    from models import heads


def new_head(
    targets: Sequence[Target], form: HeadForm, *, features: int, seed: int = 0
) -> keras.Model:
    """A head for feature vectors of this length; see `heads.build_head`."""
    outputs = [
        (t.name or "probabilities", task_of(t).units(t.space), task_of(t).activation)
        for t in targets
    ]
    return heads.build_head(features=features, outputs=outputs, seed=seed, **form.model_dump())


def open_head(model: TrainedModel, *, features: int) -> keras.Model:
    """The trained head of `model`, for feature vectors of this length."""
    head = new_head(model.base.targets, model.form, features=features)
    head.load_weights(model.directory / "head.weights.h5")
    return head


def open_whole(model: TrainedModel) -> keras.Model:
    """The whole of `model`: from decoded inputs to the outputs of all its targets."""
    network = open_backbone(model.base, model.backbone_weights)
    return heads.join(network, open_head(model, features=network.output_shape[-1]))
