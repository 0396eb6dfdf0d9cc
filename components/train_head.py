"""train_head: a new head, trained on what the frozen backbone gave."""

from __future__ import annotations

import shutil
from typing import Any, Literal

import numpy as np
from etils import epy
from pydantic import Field, field_validator

from components.artifacts import TRAINED_ON, Features, HeadForm, TrainedModel
from components.disk import save_weights
from components.files import read_jsonl, write_json
from components.frozen.networks import block_starts, open_body, open_frozen
from components.job import Job, stage
from components.tasks.learning import Learning
from components.training import few
from components.training.data import TrainingData, training_data
from components.training.exact import fit_head
from components.training.heads import WarmHead, carry, new_head
from components.training.phases import (
    PhaseConfig,
    as_long_as,
    decided,
    rate_or_auto,
    require_finite,
    run_phase,
    train_phase,
)
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras
    import optuna

    from models import heads, range_test


class HeadConfig(PhaseConfig):
    """The new head, and how it is trained."""

    features: Literal["last", "taps", "auto"] = "auto"
    """What it reads: `last`, the last layer, and is trained as the rest of this section says;
    `taps`, the pooled outputs of several blocks (arXiv:2201.03529), and is fitted exactly, in
    seconds; `auto`: fitted to what the examples speak for, but `last` where anything else of this
    section is not as it is by default."""
    kind: Literal["linear", "prototype", "auto"] = "linear"
    """`prototype`: the mean of each class on normalized features (arXiv:1911.04623); it trains
    nothing, makes do with one example of each class, and classes can be added to it. `auto`:
    that, where it is better beyond noise than what is fitted exactly."""
    begin: Literal["zeros", "prototypes"] = "zeros"
    """What a linear head that is trained by epochs begins with."""
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
        return rate_or_auto("head", value)


@stage(version=9, any_backend=True, trains=True)
def train_head(
    job: Job,
    features: Features,
    config: HeadConfig,
    learning: Learning,
    *,
    start: WarmHead | None = None,
    seed: int,
    clean: bool = False,
    like: TrainedModel | None = None,
) -> TrainedModel:
    """Train a head on pooled features; where they are stored, the backbone is not even loaded.

    Args:
        start: a head that comes with the backbone. It is trained on from where it is, as wide as
            it is; where blocks are to be fine-tuned, it is handed on to be trained with them.
        clean: leave the examples to validate with alone, as something else is to be compared on
            them; where blocks are to be fine-tuned that is done anyway.
        like: a head with whose taps, or epochs and rate, it is to be trained: nothing is chosen.
    """
    clean = clean or features.block is not None
    if start and start.form.taps and "taps" not in features.keys:
        raise Mistake(
            "head.features must be taps or auto where model.warm_start goes on with a head on "
            "taps, got last: say --model.warm-start none"
        )
    if start and (gone := [tap for tap in start.form.taps if tap not in features.taps]):
        raise Mistake(
            f"model.warm_start must go on with a head on taps that there are, got one on "
            f"{', '.join(gone)}: say --model.warm-start none"
        )
    if start and features.block is not None:
        return _handed_on(job, features, start)
    if config.kind == "prototype":
        return few.fit_prototypes(job, features, learning, clean=clean, seed=seed)
    if "taps" in features.keys:
        may_be_last = config.features == "auto"
        if config.kind == "auto" and few.are_better(job, features, learning):
            return few.fit_prototypes(job, features, learning, clean=clean, seed=seed, last=True)
        return fit_head(
            job,
            features,
            learning,
            may_be_last=may_be_last,
            clean=clean,
            seed=seed,
            taps=like.form.taps if like else (),
        )
    if start:
        known = {"hidden": start.form.hidden, "dropout": start.form.dropout, "search": 0}
        config = config.model_copy(update=known)
    if like:
        config = as_long_as(like, config).model_copy(
            update={
                "hidden": like.form.hidden,
                "dropout": like.form.dropout,
                "search": 0,
                "learning_rate": like.stats["highest_learning_rate"],
            }
        )
    keras.utils.set_random_seed(seed)
    trials = _Trials(features, training_data(job, features, "pooled", learning), seed, start)

    def decide() -> dict[str, Any]:
        found = _search(job, trials, config) if config.search else {}
        return found | {"learning_rate": trials.learning_rate(config.model_copy(update=found))}

    config = config.model_copy(update=decided(job, "decided", decide))
    if config.search:
        shutil.copy2(job.scratch / "search.json", job.directory)
    head = trials.head(config)
    phase = run_phase(job, "train_head", head, trials.data, config, seed)
    phase.write(job.directory)
    history = phase.history
    require_finite(history, "head", config)
    save_weights(head, job.directory / "head.weights.h5")
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        form=trials.form(config),
        kept=f"the head of epoch {history.best_epoch + 1} of {len(history.epochs)}",
        stats={
            "epochs": len(history.epochs),
            "highest_learning_rate": config.learning_rate,
            **history.best,
        },
    )


def _handed_on(job: Job, features: Features, start: WarmHead) -> TrainedModel:
    """The head as it came, for the targets as they are now."""
    model = features.model
    if start.form.taps and features.block is not None:
        blocks = list(block_starts(model, open_frozen(model, model.weights)))
        top = start.form.taps[-1].partition("/")[0]
        if blocks.index(top) < blocks.index(features.block):
            raise Mistake(
                f"fine_tune.unfreeze must reach what the head reads, which ends at {top}, got "
                f"{features.block!r}: say --model.warm-start none"
            )
    width = open_body(model, model.weights, start.form.taps).output_shape[-1]
    head = new_head(model.targets, start.form, features=width)
    head.load_weights(start.path)
    carry(head, start.targets, model.targets)
    save_weights(head, job.directory / "head.weights.h5")
    trained_on = {row["id"] for row in read_jsonl(start.seen) if row["split"] in TRAINED_ON}
    index = read_jsonl(features.examples.directory / "index.jsonl")
    test = [row["id"] for row in index if row["split"] == "test"]
    seen = sum(identity in trained_on for identity in test)
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        form=start.form,
        kept=f"the head that came with the backbone, trained on {seen} of the {len(test)} test "
        f"examples",
        stats={"skipped": True, "test_examples_seen": seen},
    )


class _Trials:
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
        self._features = features

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
        gather, size = self.data.training.gather, self._features.batch_size
        rows = np.arange(len(self.data.training))
        head = new_head(
            self._features.model.targets,
            self.form(config),
            features=gather(rows[:1], 0)[0].shape[-1],
            seed=self.seed,
        )
        if self._start:
            head.load_weights(self._start.path)
            carry(head, self._start.targets, self._features.model.targets)
            return head
        heads.adapt(head, (gather(rows[i : i + size], 0)[0] for i in range(0, len(rows), size)))
        if config.begin == "prototypes":
            read, truth, weights = gather(rows, 0)
            few.begin(head, self._features.model.targets, read, truth, weights)
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


def _search(job: Job, trials: _Trials, config: HeadConfig) -> dict[str, Any]:
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
