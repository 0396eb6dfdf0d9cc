"""train_head: a new head, trained on what the frozen backbone gave."""

from __future__ import annotations

import shutil
from typing import Any, Literal

import numpy as np
from etils import epy
from pydantic import Field, field_validator

from components.artifacts import TRAINED_ON, Features, TrainedModel
from components.files import read_jsonl, write_json
from components.frozen.batches import training_data
from components.job import Job, stage
from components.modalities.giants import WarmHead
from components.training.phases import PhaseConfig, decided, require_finite, run_phase, train_phase
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras
    import optuna

    from models import heads, minibatches, optimization, range_test


class HeadConfig(PhaseConfig):
    """The new head, and how it is trained."""

    epochs: int = Field(20, ge=1, le=10_000)
    """Most epochs to train."""
    learning_rate: float | Literal["auto"] = 1e-3
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine. `auto`
    finds one by a range test."""
    hidden: int = Field(0, ge=0, le=65_536)
    """Units of a hidden layer; 0 for none."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Rate of dropout before each dense layer."""
    search: int = Field(0, ge=0, le=10_000)
    """Trials of a search for better `hidden`, `dropout` and `weight_decay`; 0 for none."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        """The command line has only strings."""
        if value == "auto":
            return value
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = 0.0
        if not 0 < rate <= 10:
            raise Mistake(
                f"head.learning_rate must be above 0 and at most 10, or 'auto', got {value}"
            )
        return rate


@stage(version=3, any_backend=True, trains=True)
def train_head(
    job: Job,
    features: Features,
    config: HeadConfig,
    *,
    start: WarmHead | None = None,
    seed: int,
) -> TrainedModel:
    """Train a head on pooled features; where they are stored, the backbone is not even loaded.

    Args:
        start: a head that comes with the backbone. It is trained on from where it is, as wide as
            it is; where blocks are to be fine-tuned, it is handed on to be trained with them.
    """
    if start and features.block is not None:
        return _handed_on(job, features, start)
    if start:
        known = {"hidden": start.hidden, "dropout": start.dropout, "search": 0}
        config = config.model_copy(update=known)
    keras.utils.set_random_seed(seed)
    task = _Task(features, training_data(job, features, "pooled"), seed, start)

    def decide() -> dict[str, Any]:
        found = _search(job, task, config) if config.search else {}
        return found | {"learning_rate": task.learning_rate(config.model_copy(update=found))}

    config = config.model_copy(update=decided(job, "decided", decide))
    if config.search:
        shutil.copy2(job.scratch / "search.json", job.directory)
    rate = float(config.learning_rate)
    head = task.head(config)
    phase = run_phase(job, "train_head", head, task.data, config, seed, learning_rate=rate)
    phase.write(job.directory)
    history = phase.history
    require_finite(history, "head", rate)
    head.save_weights(job.directory / "head.weights.h5")
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        hidden=config.hidden,
        dropout=config.dropout,
        normalize=start.normalize if start else True,
        kept=f"the head of epoch {history.best_epoch + 1} of {len(history.epochs)}",
        stats={"epochs": len(history.epochs), "highest_learning_rate": rate, **history.best},
    )


def _handed_on(job: Job, features: Features, start: WarmHead) -> TrainedModel:
    """The head as it came."""
    shutil.copy2(start.path, job.directory / "head.weights.h5")
    trained_on = {row["id"] for row in read_jsonl(start.seen) if row["split"] in TRAINED_ON}
    index = read_jsonl(features.examples.directory / "index.jsonl")
    test = [row["id"] for row in index if row["split"] == "test"]
    seen = sum(identity in trained_on for identity in test)
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        hidden=start.hidden,
        dropout=start.dropout,
        normalize=start.normalize,
        kept=f"the head that came with the backbone, trained on {seen} of the {len(test)} test "
        f"examples",
        stats={"skipped": True, "test_examples_seen": seen},
    )


class _Task:
    """What every head that is tried has in common."""

    def __init__(
        self,
        features: Features,
        data: tuple[minibatches.Data, minibatches.Data],
        seed: int,
        start: WarmHead | None,
    ) -> None:
        self._start = start
        self.data = data
        self.seed = seed
        self._features = features

    def head(self, config: HeadConfig) -> keras.Model:
        """A new head, adapted to the training examples as they are in epoch 0; or the old one."""
        data, size = self.data[0], self._features.batch_size
        rows = np.arange(len(data))
        head = heads.build_head(
            features=data.gather(rows[:1], 0).shape[-1],
            num_classes=len(self._features.model.labels),
            hidden=config.hidden,
            dropout=config.dropout,
            normalize=self._start.normalize if self._start else True,
            seed=self.seed,
        )
        if self._start:
            head.load_weights(self._start.path)
            return head
        heads.adapt(head, (data.gather(rows[i : i + size], 0) for i in range(0, len(rows), size)))
        return head

    def learning_rate(self, config: HeadConfig) -> float:
        """The one given, or what a range test suggests."""
        if config.learning_rate != "auto":
            return config.learning_rate
        return range_test.range_test(
            self.head(config),
            self.data[0],
            loss=optimization.build_loss(
                label_smoothing=config.label_smoothing, focal_gamma=config.focal_gamma
            ),
            batch_size=config.batch_size,
            seed=self.seed,
        )


# Units of a hidden layer and rates of weight decay that are tried.
_WIDTHS = (0, 64, 128, 256, 512)
_DECAYS = (0.0, 0.01, 0.1, 1.0)


def _search(job: Job, task: _Task, config: HeadConfig) -> dict[str, Any]:
    """What to change in `config`: the best of `config.search` trials on validation loss.

    The first trial is `config` itself; the others are drawn by Optuna's tree-structured Parzen
    estimator (Bergstra et al. 2011). `search.json` tells of them all.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=task.seed))
    given = {key: getattr(config, key) for key in ("hidden", "dropout", "weight_decay")}
    study.enqueue_trial(given)

    def settings(trial: optuna.Trial) -> HeadConfig:
        drawn = {
            "hidden": trial.suggest_categorical("hidden", sorted({*_WIDTHS, config.hidden})),
            "dropout": trial.suggest_float("dropout", 0.0, max(0.6, config.dropout)),
            "weight_decay": trial.suggest_categorical(
                "weight_decay", sorted({*_DECAYS, config.weight_decay})
            ),
        }
        return config.model_copy(update=drawn)

    def objective(trial: optuna.Trial) -> float:
        tried = settings(trial)
        history = train_phase(
            task.head(tried), task.data, tried, task.seed, learning_rate=task.learning_rate(tried)
        )
        job.progress("head search", trial.number + 1, config.search)
        return float(np.nan_to_num(history.best["val_loss"], nan=np.inf))

    study.optimize(objective, n_trials=config.search)
    trials = [{"val_loss": trial.value, **trial.params} for trial in study.trials]
    write_json(job.scratch / "search.json", {"trials": trials, "best": study.best_trial.number})
    return study.best_params
