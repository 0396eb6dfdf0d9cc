"""train_from_scratch: the whole network from its first weights, to transfer from or to beat."""

from __future__ import annotations

from typing import Any

from etils import epy
from pydantic import Field, field_validator

from components.artifacts import Features, HeadForm, TrainedModel
from components.frozen.networks import cut, open_backbone
from components.ingest import DataConfig
from components.job import Job, stage
from components.section import duration, seconds_of
from components.tasks.learning import Learning
from components.training.data import TrainingData, training_data
from components.training.heads import new_head
from components.training.phases import (
    PhaseConfig,
    decided,
    require_finite,
    run_phase,
)
from components.training.probe import step_seconds
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from models import distribution, freezing, splitting


# So many examples times weights are trained in a second on any machine: 1,000 multiplications for
# each weight and example there and as many twice back, at 10 billion of them.
_SURELY_A_SECOND = 3e6


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
    budget: str = "30m"
    """Most time that its training may take, such as 30m or 2h: it gets as many epochs as fit, by
    how long its first steps take. No limit where empty, nor where several devices train."""

    @field_validator("budget")
    @classmethod
    def _duration(cls, value: str) -> str:
        if value and not seconds_of(value):
            raise Mistake(f"control.budget must be a time such as 30m or 1h30m, got {value!r}")
        return value


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
    asked = config.epochs
    if isinstance(config, ControlConfig) and config.budget:
        config = _within(job, whole, data, config, seed)
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
        cut_short=(
            f"{config.epochs} of {asked} epochs fit its budget of {config.budget}"
            if isinstance(config, ControlConfig) and config.epochs < asked
            else ""
        ),
        backbone_changed=True,
        stats={"epochs": len(history.epochs), **history.best},
    )


def _within(
    job: Job, network: keras.Model, data: TrainingData, config: ControlConfig, seed: int
) -> ControlConfig:
    """The config with as many epochs as fit the budget, at least one.

    The schedule of the learning rate is that of the epochs there are, so that a control of few
    epochs is the best that so many can give. What a killed run had decided is kept.
    """

    def decide() -> dict[str, Any]:
        job.doing("measuring what a step takes")
        seconds = step_seconds(network, data, config, seed)
        # Without the way back a step takes a third.
        steps = (
            data.training.steps(config.batch_size) + data.validation.steps(config.batch_size) / 3
        )
        return {"epoch": seconds * steps}

    if distribution.replicas() > 1:
        return config  # Each would measure something else, and they must agree.
    budget = seconds_of(config.budget)
    steps = config.epochs * data.training.steps(config.batch_size)
    if network.count_params() * steps * config.batch_size < budget * _SURELY_A_SECOND:
        return config
    seconds = decided(job, "budget", decide)["epoch"]
    epochs = min(config.epochs, max(1, int(budget / seconds)))
    job.say(
        f"The control: at most {epochs} epochs of about {duration(seconds)}, "
        f"{duration(epochs * seconds)} in all."
    )
    return config.model_copy(update={"epochs": epochs})
