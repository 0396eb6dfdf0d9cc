"""Heads for the targets of a run, new ones and trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etils import epy

from components.artifacts import HeadForm, TrainedModel
from components.frozen.networks import open_body
from components.section import Digested
from components.tasks.protocol import Target
from components.tasks.table import task_of

with epy.lazy_imports():
    import keras

    from models import heads
    from models.linear import Fit


@dataclass(frozen=True)
class WarmHead(Digested):
    """The head of the last blessed model, to go on with; resolved before the flow.

    Attributes:
        digest: of its weights and its architecture.
        path: of its weights.
        targets: that it was trained for.
        seen: the index of the examples that it was trained, validated and tested with.
    """

    digest: str
    path: Path
    seen: Path
    form: HeadForm
    targets: tuple[Target, ...]


def new_head(
    targets: Sequence[Target], form: HeadForm, *, features: int, seed: int = 0
) -> keras.Model:
    """A head for feature vectors of this length; see `heads.build_head`."""
    outputs = [(_layer(t), task_of(t).units(t.space), task_of(t).activation) for t in targets]
    return heads.build_head(
        features=features, outputs=outputs, seed=seed, **form.model_dump(exclude={"taps"})
    )


def _layer(target: Target) -> str:
    """What the dense layer of a target is called: like no other layer of a head."""
    return f"target_{target.name}" if target.name else "probabilities"


def set_linear(head: keras.Model, targets: Sequence[Target], fits: Sequence[Fit]) -> None:
    """Give a head with no hidden layer the weights that were found for each target."""
    for target, fit in zip(targets, fits, strict=True):
        head.get_layer(_layer(target)).set_weights([fit.kernel, fit.bias])


def carry(head: keras.Model, before: Sequence[Target], now: Sequence[Target]) -> None:
    """Let a head that was trained for targets of before mean the same for those of now.

    Numbers are standardized, and the mean and the deviation change with the examples.
    """
    for old, new in zip(before, now, strict=True):
        scale, shift = task_of(new).carried(old.space, new.space)
        layer = head.get_layer(_layer(new))
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * scale, bias * scale + shift])


def open_head(model: TrainedModel, *, features: int) -> keras.Model:
    """The trained head of `model`, for feature vectors of this length."""
    head = new_head(model.base.targets, model.form, features=features)
    head.load_weights(model.directory / "head.weights.h5")
    return head


def open_whole(model: TrainedModel) -> keras.Model:
    """The whole of `model`: from decoded inputs to the outputs of all its targets."""
    body = open_body(model.base, model.backbone_weights, model.form.taps)
    return heads.join(body, open_head(model, features=body.output_shape[-1]))
