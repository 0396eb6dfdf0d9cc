"""Heads that are trained by epochs and compared: what all have in common, and a search."""

from __future__ import annotations

from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Features, HeadForm
from components.files import write_json
from components.job import Job
from components.training import few
from components.training.data import TrainingData
from components.training.head_config import HeadConfig
from components.training.heads import WarmHead, carry, new_head
from components.training.phases import train_phase

with epy.lazy_imports():
    import keras
    import optuna

    from models import heads, range_test


class Trials:
    """What every head that is tried has in common."""

    def __init__(
        self,
        features: Features,
        data: TrainingData,
        seed: int,
        start: WarmHead | None,
    ) -> None:
        self._start = start
        self.data = data
        self.seed = seed
        self.features = features

    def form(self, config: HeadConfig) -> HeadForm:
        if self._start:
            return self._start.form
        return HeadForm(
            hidden=config.hidden,
            dropout=config.dropout,
            balance=self.data.objective.by_uncertainty,
        )

    def head(self, config: HeadConfig) -> keras.Model:
        """A new head, adapted to the training examples as they are in epoch 0; or the old one."""
        gather, size = self.data.training.gather, self.features.batch_size
        rows = np.arange(len(self.data.training))
        head = new_head(
            self.features.model.targets,
            self.form(config),
            features=gather(rows[:1], 0)[0].shape[-1],
            seed=self.seed,
        )
        if self._start:
            head.load_weights(self._start.path)
            carry(head, self._start.targets, self.features.model.targets)
            return head
        heads.adapt(head, (gather(rows[i : i + size], 0)[0] for i in range(0, len(rows), size)))
        if config.begin == "random":
            heads.begin_at_random(head, self.seed)
        elif config.begin == "prototypes":
            read, truth, weights = gather(rows, 0)
            few.begin(head, self.features.model.targets, read, truth, weights)
        return head

    def learning_rate(self, config: HeadConfig) -> float:
        """The one given, or what a range test suggests."""
        if config.learning_rate != "auto":
            return config.learning_rate
        return range_test.range_test(
            self.head(config),
            self.data.training,
            objective=self.data.objective,
            batch_size=config.batch_size,
            seed=self.seed,
        )


# Units of a hidden layer and rates of weight decay that are tried.
_WIDTHS = (0, 64, 128, 256, 512)
_DECAYS = (0.0, 0.01, 0.1, 1.0)


def search(job: Job, trials: Trials, config: HeadConfig) -> dict[str, Any]:
    """What to change in `config`: the best of `config.search` trials on validation loss.

    The first trial is `config` itself; the others are drawn by Optuna's tree-structured Parzen
    estimator (Bergstra et al. 2011). `search.json` tells of them all.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=trials.seed))
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
        tried = tried.model_copy(update={"learning_rate": trials.learning_rate(tried)})
        history = train_phase(trials.head(tried), trials.data, tried, trials.seed)
        job.progress("head search", trial.number + 1, config.search)
        return float(np.nan_to_num(history.best["val_loss"], nan=np.inf))

    study.optimize(objective, n_trials=config.search)
    tried = [{"val_loss": trial.value, **trial.params} for trial in study.trials]
    write_json(job.scratch / "search.json", {"trials": tried, "best": study.best_trial.number})
    return study.best_params
