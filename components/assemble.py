"""assemble: a pretrained backbone, frozen, ready for a head of our own classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from etils import epy
from pydantic import Field, field_validator

from components.artifacts import AssembledModel, Checks, TrainedModel
from components.job import Job, Section, UnhashedStr, stage
from models import backbones, splitting
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from models import heads


class ModelConfig(Section):
    """The pretrained giant."""

    backbone: str = "MobileNetV2"
    """A name in the table of backbones: every Keras Applications model, and ConvNet."""
    weights: UnhashedStr = "imagenet"
    """`imagenet`, a file of the backbone's weights, `none`, or `pretrain`."""
    input_size: int | None = Field(None, ge=8, le=2048)
    """Height and width in pixels; the backbone's usual size where not given."""
    resize: Literal["stretch", "crop", "pad"] = "stretch"
    """How a picture of another shape becomes square."""
    pooling: Literal["avg", "max"] = "avg"
    """How the last feature map becomes one vector."""

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        backbones.find_backbone(name)
        return name


@dataclass(frozen=True)
class Pretrained:
    """Weights from outside, resolved before the flow.

    Attributes:
        digest: of the file's bytes; of the word "none" where there is no file.
        description: where they come from, in words.
        path: a file of our own kind or Keras's; None where Keras itself finds it, or for none.
        imagenet: Keras finds the published file by the backbone's name.
    """

    digest: str
    description: str
    path: Path | None = None
    imagenet: bool = False


NO_WEIGHTS = Pretrained(digest="none", description="random weights")


@stage(version=1)
def assemble(
    job: Job, checks: Checks, pretrained: Pretrained | TrainedModel, config: ModelConfig, seed: int
) -> AssembledModel:
    """Build the backbone with its preprocessing inside, frozen, and try a head on it.

    Args:
        checks: of the examples whose labels the new head is to tell apart.
        pretrained: where the weights come from; a model trained by an earlier stage, or from
            outside.
        seed: of the random weights where there are no others.
    """
    examples = checks.examples
    row = backbones.find_backbone(config.backbone)
    if row.modality != examples.modality:
        raise Mistake(
            f"model.backbone must read {examples.modality} examples, got {config.backbone!r}, "
            f"which reads {row.modality}"
        )
    keras.utils.set_random_seed(seed)
    imagenet = isinstance(pretrained, Pretrained) and pretrained.imagenet
    network = backbones.build_backbone(
        config.backbone,
        input_size=config.input_size,
        pooling=config.pooling,
        weights="imagenet" if imagenet else None,
    )
    path: Path | None
    if isinstance(pretrained, TrainedModel):
        path, description = pretrained.backbone_weights, f"pretrained on {pretrained.base.labels}"
    else:
        path, description = pretrained.path, pretrained.description
    if path:
        backbones.load_weights(network, path)
    head = heads.build_head(features=network.output_shape[-1], num_classes=len(examples.labels))
    grafted = heads.join(network, head)
    model = AssembledModel(
        directory=job.directory,
        backbone=config.backbone,
        modality=row.modality,
        input_size=config.input_size or row.input_size,
        resize=config.resize,
        pooling=config.pooling,
        labels=examples.labels,
        pretrained=description,
        source=pretrained if isinstance(pretrained, TrainedModel) else None,
        stats={
            "frozen_weights": network.count_params(),
            "trainable_weights": sum(math.prod(v.shape) for v in grafted.trainable_variables),
            "blocks": list(splitting.block_starts(network, row.block, ends=row.block_ends)),
        },
    )
    network.save_weights(model.weights)
    return model
