"""assemble: a pretrained backbone, frozen, ready for a head of our own classes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from etils import epy

from components.artifacts import AssembledModel, Checks, HeadForm, TrainedModel
from components.disk import save_weights
from components.frozen.networks import block_starts, keep_frozen
from components.job import Job, stage
from components.modalities.giants import Giant, ModelConfig, Pretrained
from components.modalities.table import MODALITIES
from components.section import Section
from components.tasks.table import task_of
from components.training.heads import new_head
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras


@stage(version=5)
def assemble(
    job: Job,
    checks: Checks,
    giant: Giant,
    pretrained: Pretrained | TrainedModel,
    config: ModelConfig,
    own: Section,
    seed: int,
) -> AssembledModel:
    """Build the backbone with its preprocessing inside, frozen, and try a head on it.

    Args:
        checks: of the examples whose answers the new head is to give.
        giant: the backbone.
        pretrained: where the weights come from; a model trained by an earlier stage, or from
            outside.
        own: the modality's section of the config.
        seed: of the random weights where there are no others.
    """
    examples = checks.examples
    job.doing("building the network")
    keras.utils.set_random_seed(seed)
    published = isinstance(pretrained, Pretrained) and pretrained.published
    giants = MODALITIES[examples.modality].giants
    network, form, pooling = giants.begin(config, own, giant, job.directory, published=published)
    path: Path | None
    if isinstance(pretrained, TrainedModel):
        path, description = pretrained.backbone_weights, _described(pretrained)
    else:
        path, description = pretrained.path, pretrained.description
    if path:
        giants.load(giant, network, path)
    _check_finite(network, description)
    head = new_head(examples.targets, HeadForm(), features=network.output_shape[-1])
    model = AssembledModel(
        directory=job.directory,
        backbone=giant.name,
        modality=examples.modality,
        form=form.model_dump(),
        pooling=pooling,
        targets=examples.targets,
        pretrained=description,
        source=pretrained if isinstance(pretrained, TrainedModel) else None,
        stats={
            "frozen_weights": network.count_params(),
            "trainable_weights": sum(math.prod(v.shape) for v in head.trainable_variables),
        },
    )
    model.stats["blocks"] = list(block_starts(model, network))
    save_weights(network, model.weights)
    keep_frozen(model.weights, network)
    return model


def _check_finite(network: keras.Model, description: str) -> None:
    """A `Mistake` where weights are no numbers, of which nothing can be said later."""
    for variable in network.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable.value)).all():
            raise Mistake(
                f"model.weights must be finite numbers, got {variable.path} with NaN or infinity "
                f"in {description}"
            )


def _described(pretrained: TrainedModel) -> str:
    """Where its weights come from, in words."""
    said = ", and ".join(task_of(t).card(t.space) for t in pretrained.base.targets)
    return f"pretrained to say {said}"
