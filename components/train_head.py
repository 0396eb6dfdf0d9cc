"""train_head: a new head, trained on what the frozen backbone gave."""

from __future__ import annotations

import shutil
from typing import Any

from etils import epy

from components.artifacts import TRAINED_ON, Features, TrainedModel
from components.disk import save_weights
from components.files import read_jsonl
from components.frozen.networks import block_starts, open_body, open_frozen
from components.job import Job, stage
from components.tasks.learning import Learning
from components.training import few, soup
from components.training.data import training_data
from components.training.exact import fit_head
from components.training.head_config import HeadConfig
from components.training.heads import WarmHead, carry, new_head
from components.training.phases import (
    as_long_as,
    decided,
    require_finite,
    run_phase,
)
from components.training.trials import Trials, search
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras


@stage(version=10, any_backend=True, trains=True)
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
    if _means(job, features, config, learning, like):
        last = config.kind == "auto"
        return few.fit_prototypes(job, features, learning, clean=clean, seed=seed, last=last)
    if "taps" in features.keys:
        return fit_head(
            job,
            features,
            learning,
            may_be_last=config.features == "auto",
            soup=config.soup > 0,
            clean=clean,
            seed=seed,
            like=like,
        )
    if start:
        known = {"hidden": start.form.hidden, "dropout": start.form.dropout}
        known |= {"search": 0, "soup": 0}
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
    trials = Trials(features, training_data(job, features, "pooled", learning), seed, start)
    if config.kind == "untrained":
        return _untrained(job, trials, config)

    def decide() -> dict[str, Any]:
        found = search(job, trials, config) if config.search else {}
        return found | {"learning_rate": trials.learning_rate(config.model_copy(update=found))}

    config = config.model_copy(update=decided(job, "decided", decide))
    if config.search:
        shutil.copy2(job.scratch / "search.json", job.directory)
    head = trials.head(config)
    phase = run_phase(job, "train_head", head, trials.data, config, seed, section="head")
    phase.write(job.directory)
    history = phase.history
    require_finite(history, "head", config)
    kept = f"the head of epoch {history.best_epoch + 1} of {len(history.epochs)}"
    averaged: dict[str, Any] = {}
    if config.soup:
        taken = like.stats["soup"] if like else ()
        averaged = soup.of_epochs(job, trials, head, config, learning, taken)
        kept += soup.said(averaged)
    save_weights(head, job.directory / "head.weights.h5")
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        form=trials.form(config),
        kept=kept,
        cut_short=phase.cut_short,
        stats={
            **averaged,
            "epochs": len(history.epochs),
            "highest_learning_rate": config.learning_rate,
            **history.best,
        },
    )


def _untrained(job: Job, trials: Trials, config: HeadConfig) -> TrainedModel:
    """The head as it begins."""
    save_weights(trials.head(config), job.directory / "head.weights.h5")
    return TrainedModel(
        directory=job.directory,
        features=trials.features,
        phase="train_head",
        form=trials.form(config),
        kept="a new head that is not trained",
        stats={"skipped": True},
    )


def _means(
    job: Job,
    features: Features,
    config: HeadConfig,
    learning: Learning,
    like: TrainedModel | None,
) -> bool:
    """Whether the head is to be class means."""
    if config.kind != "auto":
        return config.kind == "prototype"
    if like:
        return like.form.unit
    return "taps" in features.keys and few.are_better(job, features, learning)


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
