"""train_control: the best that can be trained from scratch on the same labels, to be beaten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etils import epy
from pydantic import Field, field_validator

from components.artifacts import AssembledModel, Features, TrainedModel
from components.disk import save_weights
from components.files import write_json
from components.frozen.networks import new_backbone, open_backbone
from components.job import Job, stage
from components.section import Views, seconds_of
from components.tasks.learning import Learning
from components.training.phases import Phase
from components.training.scratch import MOST_STEPS, ScratchConfig, Whole, surely_fits
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from models import splitting


class ControlConfig(ScratchConfig):
    """The control: what transferring must beat, trained from scratch on the same labels."""

    enabled: bool | Literal["auto"] = "auto"
    """Train a small network from random weights, fit a line to what is known of the examples
    without looking at them, and say whether transferring helped; `auto`: where there is no blessed
    model yet to be compared with."""
    network: Literal["auto", "always", "never"] = "auto"
    """Train the very network that is transferred from random weights, too: `auto`, where it surely
    takes no longer than `budget`. The better one on validation examples is the control."""
    learning_rate: float | Literal["auto"] = "auto"
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine. `auto`
    finds one by a range test."""
    views: int | None = Field(None, ge=1, le=64)
    """Views of each training example where `augment.views` is 1; 4 of pictures and 1 of texts where
    not given: who learns to see from these examples alone needs more of them."""
    patience: int = Field(10, ge=0)
    """Epochs without a better `monitor` before training stops."""
    budget: str = "1m"
    """Most time that training a network may take, such as 30m or 2h: it gets as many epochs as fit,
    by how long its first steps take. No limit where empty, nor where several devices train."""

    @field_validator("budget")
    @classmethod
    def _duration(cls, value: str) -> str:
        if value and not seconds_of(value):
            raise Mistake(f"control.budget must be a time such as 30m or 1h30m, got {value!r}")
        return value

    def is_wanted(self, *, is_first: bool) -> bool:
        """
        Args:
            is_first: there is no blessed model yet.
        """
        return is_first if self.enabled == "auto" else bool(self.enabled)

    @property
    def seconds(self) -> float:
        return seconds_of(self.budget) if self.budget else float("inf")


@dataclass(frozen=True)
class _Trained:
    """One network that was tried, and its weights, which the next one does not share."""

    title: str
    features: Features
    whole: Whole
    phase: Phase
    cut_short: str


@stage(version=2, any_backend=True, trains=True)
def train_control(
    job: Job,
    small: Features,
    transferred: Features,
    config: ControlConfig,
    learning: Learning,
    *,
    seed: int,
) -> TrainedModel:
    """Train a small network, and maybe the very one that is transferred; keep the better one.

    Each gets augmented views, a learning rate by a range test, BatchNormalization that fits the
    number of its steps, and early stopping. Which is better is decided on validation loss.

    Args:
        small: decoded inputs of a small network.
        transferred: what the transferred model was trained on; only its inputs are looked at.
    """
    most = -(-small.counts["train"] // MOST_STEPS)
    config = config.model_copy(update={"batch_size": max(config.batch_size, most)})
    model = small.model
    network = open_backbone(model, model.weights)
    whole = Whole.of(job, model, network, small, config, learning, seed)
    title = f"a small network ({model.backbone})"
    tried = [_train(job, "small", title, small, whole, config, seed)]
    base = transferred.model
    if not (left_out := _why_not(base, transferred.counts["train"], config)):
        inputs = _inputs_of(transferred, small.views)
        keras.utils.set_random_seed(seed)
        whole = Whole.of(job, base, new_backbone(base), inputs, config, learning, seed)
        title = f"the same network ({base.backbone})"
        tried.append(_train(job, "same", title, transferred, whole, config, seed))
    best = min(tried, key=lambda each: each.phase.history.best["val_loss"])
    best.phase.write(job.directory)
    save_weights(best.whole.head, job.directory / "head.weights.h5")
    save_weights(best.whole.network, job.directory / "backbone.weights.h5")
    rows = [{"network": each.title, **each.phase.history.best} for each in tried]
    write_json(job.directory / "rivals.json", {"tried": rows, "left_out": left_out})
    history = best.phase.history
    return TrainedModel(
        directory=job.directory,
        features=best.features,
        phase="train_control",
        form=best.whole.form,
        title=best.title,
        kept=f"the weights of epoch {history.best_epoch + 1} of {len(history.epochs)}",
        cut_short=best.cut_short,
        backbone_changed=True,
        stats={"network": best.title, "epochs": len(history.epochs), **history.best},
    )


def _why_not(base: AssembledModel, examples: int, config: ControlConfig) -> str:
    """Why the transferred network is not trained from scratch, too; empty where it is."""
    if config.network == "never":
        return "it was not asked for"
    weights = int(base.stats["frozen_weights"])
    if config.network == "always" or surely_fits(weights, examples, config, config.seconds):
        return ""
    return f"it may take longer than {config.budget}: --control.network always"


def _train(
    job: Job,
    which: str,
    title: str,
    features: Features,
    whole: Whole,
    config: ControlConfig,
    seed: int,
) -> _Trained:
    name = f"train_control {which}"
    given = whole.within(job, name, config, config.seconds, seed) if config.budget else config
    phase = whole.train(job, name, given, seed, section="control")
    short = given.epochs < config.epochs
    why = f"{given.epochs} of {config.epochs} epochs fit its budget of {config.budget}"
    return _Trained(title, features, whole, phase, why if short else phase.cut_short)


def _inputs_of(features: Features, views: Views) -> Features:
    """The same examples before anything was computed of them; those in the store where they are."""
    if features.cut == splitting.STEM and "at_cut" in features.keys:
        return features
    changes = {"block": splitting.STEM, "cut": splitting.STEM, "keys": {}, "views": views}
    return features.model_copy(update=changes)
