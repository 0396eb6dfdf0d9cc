"""Presets: how much a run may cost for how good a model, in passes over the data."""

from __future__ import annotations

import math

from components.fine_tune import STEP
from pipeline.advising import giants_of
from pipeline.config import Config
from pipeline.flow import RUNGS


def passes(config: Config) -> int:
    """What a run costs at most: forward passes of the whole giant over all examples.

    Every view is a pass; fine-tuning is its epochs of what is unfrozen, as if blocks were alike,
    and all its epochs were needed. Heads on stored features, and a control, cost next to nothing
    beside that, or are trained once.
    """
    given = config.augment.views
    views = config.fine_tune.epochs if given == "fresh" else int(given)
    auto = config.strategy == "auto"
    shares = [1.0 if r == "all" else int(r[:-1]) / 100 for r in RUNGS.values()]
    unfrozen = shares if auto else [_share(config.unfreeze)]
    tuning = STEP * config.fine_tune.epochs * sum(unfrozen)
    one = views * (1 + (len(RUNGS) if auto else 0)) + tuning
    giants = config.model.finalists
    asked = len(giants_of(config)) if giants > 1 else 0
    again = (config.final.folds + 1) * tuning if config.refits else 0
    return math.ceil(asked + giants * one + again)


def price(config: Config) -> str:
    """What a preset costs, in words."""
    count = passes(config)
    most = "one pass" if count == 1 else f"{count} passes at most"
    return f"preset {config.preset}: {most} over the data, a step of training counted as {STEP}"


def _share(unfreeze: int | str) -> float:
    """How much of the giant is unfrozen; of blocks that are named, all of it at most."""
    if unfreeze == 0:
        return 0.0
    text = str(unfreeze)
    return int(text[:-1]) / 100 if text.endswith("%") else 1.0
