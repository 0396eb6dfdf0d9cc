"""train_from_scratch: the whole network from its first weights, to transfer from or to beat."""

from __future__ import annotations

from etils import epy
from pydantic import Field

from components.artifacts import Features, HeadForm, TrainedModel
from components.frozen.networks import cut, open_backbone
from components.ingest import DataConfig
from components.job import Job, stage
from components.tasks.learning import Learning
from components.training.data import training_data
from components.training.heads import new_head
from components.training.phases import PhaseConfig, require_finite, run_phase

with epy.lazy_imports():
    import keras

    from models import freezing, splitting


class ScratchConfig(PhaseConfig):
    """Training of the whole network."""

    epochs: int = Field(30, ge=1, le=10_000)
    """Most epochs to train."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Rate of dropout before the dense layer."""


class PretrainConfig(ScratchConfig):
    """Where no hub can be reached: train the giant on a source task first."""

    data: DataConfig = DataConfig()
    """The source task."""


class ControlConfig(ScratchConfig):
    """The control: the same network, from random weights, on the same labels."""

    enabled: bool = False
    """Train it, and say in the report whether transferring helped."""


@stage(version=2, any_backend=True, trains=True)
def train_from_scratch(
    job: Job, features: Features, config: ScratchConfig, learning: Learning, *, seed: int
) -> TrainedModel:
    """Train every layer, BatchNormalization too, on decoded inputs (features of block `stem`)."""
    model = features.model
    network = open_backbone(model, model.weights)
    suffix = cut(model, network, features.block).suffix
    keras.utils.set_random_seed(seed)
    form = HeadForm(
        dropout=config.dropout,
        normalize=False,  # There are no features yet to adapt to.
        balance=learning.by_uncertainty,
    )
    head = new_head(model.targets, form, features=network.output_shape[-1], seed=seed)
    freezing.unfreeze(suffix.layers, batch_normalization=True)
    inputs = splitting.one_or_all(suffix.inputs)
    whole = keras.Model(inputs, head(suffix(inputs)))
    data = training_data(job, features, "at_cut", learning)
    phase = run_phase(job, "train_from_scratch", whole, data, config, seed)
    phase.write(job.directory)
    history = phase.history
    section = "pretrain" if isinstance(config, PretrainConfig) else "control"
    require_finite(history, section, config)
    head.save_weights(job.directory / "head.weights.h5")
    network.save_weights(job.directory / "backbone.weights.h5")
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_from_scratch",
        form=form,
        kept=f"the weights of epoch {history.best_epoch + 1} of {len(history.epochs)}",
        backbone_changed=True,
        stats={"epochs": len(history.epochs), **history.best},
    )
