"""fine_tune: unfreeze the top of the backbone and go on at a far lower learning rate."""

from __future__ import annotations

import shutil

from etils import epy
from pydantic import Field, field_validator

from components.artifacts import Features, TrainedModel
from components.batches import training_data
from components.files import write_json
from components.job import Job, stage
from components.networks import cut, open_backbone, open_head
from components.phases import PhaseConfig, run_phase

with epy.lazy_imports():
    import keras

    from models import folding, freezing, heads


class FineTuneConfig(PhaseConfig):
    """Selective unfreezing."""

    unfreeze: int | str = 0
    """What to unfreeze: a block's name, a number of blocks from the top, `all`, or 0."""
    epochs: int = Field(10, ge=0, le=10_000)
    """Most epochs to train."""
    learning_rate: float = Field(1e-5, gt=0, le=1)
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine."""
    patience: int = Field(3, ge=0)
    """Epochs without a better validation loss before training stops."""

    @field_validator("unfreeze", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """The command line has only strings, and no block is called by a number."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value


@stage(version=1)
def fine_tune(
    job: Job, model: TrainedModel, features: Features, config: FineTuneConfig, *, seed: int
) -> TrainedModel:
    """Train the blocks after the cut together with the head, from the stored activations.

    BatchNormalization stays frozen, its statistics too, and so does everything before the cut:
    an audit compares every weight before and after, and what moved without leave is an error.
    The result is kept only if validation loss did not get worse than with the head alone.
    """
    if features.block is None or config.epochs == 0:
        return _unchanged(
            job,
            model,
            features,
            "the head alone: there was nothing to fine-tune",
            {"skipped": True},
        )
    network = open_backbone(model.base, model.backbone_weights)
    suffix = cut(model.base, network, features.block).suffix
    head = open_head(model, network.output_shape[-1])
    freezing.unfreeze(suffix)
    head.trainable = True
    tuned = heads.join(folding.fold(suffix, precision="bfloat16"), head)
    data = training_data(features, "crossing", in_memory=False)
    keras.utils.set_random_seed(seed)
    weights = freezing.snapshot(network)
    frozen = freezing.frozen_names(network, tuned)
    history = run_phase(job, "fine_tune", tuned, data, config, seed)
    before, after = history.before, history.best
    moved = freezing.movement(network, weights)
    if offenders := sorted(moved.keys() & frozen):
        raise RuntimeError(f"frozen weights moved in fine-tuning: {', '.join(offenders[:5])}")
    write_json(job.directory / "audit.json", {"moved": moved, "frozen": sorted(frozen)})
    stats = {
        "block": features.block,
        "epochs": len(history.epochs),
        **after,
        **{f"before_{name}": value for name, value in before.items()},
        "moved": len(moved),
        "frozen": len(frozen),
    }
    change = f"validation loss {before['val_loss']:.4f} before, {after['val_loss']:.4f} after"
    if not after["val_loss"] <= before["val_loss"]:  # NaN is worse, too.
        return _unchanged(
            job, model, features, f"the head alone: fine-tuning made it worse ({change})", stats
        )
    head.save_weights(job.directory / "head.weights.h5")
    network.save_weights(job.directory / "backbone.weights.h5")
    kept = f"the fine-tuned weights of epoch {history.best_epoch + 1} ({change})"
    return _next(job, model, features, kept, stats, backbone_changed=True)


def _unchanged(
    job: Job, model: TrainedModel, features: Features, kept: str, stats: dict[str, object]
) -> TrainedModel:
    shutil.copy2(model.directory / "head.weights.h5", job.directory)
    return _next(job, model, features, kept, stats, backbone_changed=False)


def _next(
    job: Job,
    model: TrainedModel,
    features: Features,
    kept: str,
    stats: dict[str, object],
    *,
    backbone_changed: bool,
) -> TrainedModel:
    """The model after this phase, with the head's architecture of the one before."""
    return TrainedModel(
        directory=job.directory,
        features=features,
        before=model,
        phase="fine_tune",
        hidden=model.hidden,
        dropout=model.dropout,
        normalize=model.normalize,
        kept=kept,
        backbone_changed=backbone_changed,
        stats=stats,
    )
