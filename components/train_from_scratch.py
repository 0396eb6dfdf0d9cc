"""train_from_scratch: the whole network from its first weights, to transfer from."""

from __future__ import annotations

from components.artifacts import Features, TrainedModel
from components.disk import save_weights
from components.frozen.networks import open_backbone
from components.ingest import DataConfig
from components.job import Job, stage
from components.tasks.learning import Learning
from components.training.scratch import ScratchConfig, Whole


class PretrainConfig(ScratchConfig):
    """Where no hub can be reached: train the giant on a source task first."""

    data: DataConfig = DataConfig()
    """The source task."""


@stage(version=4, any_backend=True, trains=True)
def train_from_scratch(
    job: Job, features: Features, config: ScratchConfig, learning: Learning, *, seed: int
) -> TrainedModel:
    """Train every layer, BatchNormalization too, on decoded inputs (features of block `stem`)."""
    model = features.model
    network = open_backbone(model, model.weights)
    whole = Whole.of(job, model, network, features, config, learning, seed)
    phase = whole.train(job, "train_from_scratch", config, seed, section="pretrain")
    phase.write(job.directory)
    save_weights(whole.head, job.directory / "head.weights.h5")
    save_weights(network, job.directory / "backbone.weights.h5")
    history = phase.history
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_from_scratch",
        form=whole.form,
        kept=f"the weights of epoch {history.best_epoch + 1} of {len(history.epochs)}",
        cut_short=phase.cut_short,
        backbone_changed=True,
        stats={"epochs": len(history.epochs), **history.best},
    )
