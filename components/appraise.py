"""appraise: what a giant's frozen features are worth for the examples, and at what price."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Appraisal, AssembledModel, Features
from components.files import write_json
from components.frozen.batches import inputs_of
from components.frozen.networks import open_frozen
from components.job import Job, stage
from components.modalities.table import open_reader
from components.tasks.learning import Learning
from models.splitting import one_or_all

with epy.lazy_imports():
    import scipy.special

    from components.examples import dataset
    from components.training import appraising
    from models import accuracies, domain

# So many examples tell how far they are from what the giant was trained on.
_ASKED = 16


@stage(version=2)
def appraise(job: Job, features: Features, learning: Learning) -> Appraisal:
    """Score stored features by neighbours, prototypes and linear heads; nothing is trained long."""
    found = appraising.appraise(job, features, learning)
    model = features.model
    stats = {
        f"{way}_{name}": value
        for way, scored in found.ways.items()
        for name, value in scored.figures.items()
    }
    np.savez(
        job.directory / "errors.npz",
        allow_pickle=False,
        **{way: scored.errors for way, scored in found.ways.items()},
    )
    write_json(job.directory / "ids.json", [row["id"] for row in found.rows])
    write_json(
        job.directory / "appraisal.json",
        {
            "giant": model.backbone,
            "pretrained": model.pretrained,
            "knows": _knows(model),
            "weights": model.stats["frozen_weights"],
            "blocks": model.stats["blocks"],
            "published": accuracies.published(model.backbone) if _knows(model) else None,
            "examples": len(found.rows),
            "of": sum(features.counts.values()),
            "features": {name: int(width) for name, width in features.taps.items()},
            "figures": {way: scored.figures for way, scored in found.ways.items()},
            "logme": found.logme,
            "milliseconds": features.stats.get("milliseconds"),
            "bytes": _bytes(features),
            "domain": _domain(job, features, found.rows),
            "own_head": _own_head(job, features),
        },
    )
    return Appraisal(directory=job.directory, features=features, stats=stats)


def _knows(model: AssembledModel) -> bool:
    """Whether it was trained on anything."""
    return model.source is not None or model.pretrained != "random weights"


def _bytes(features: Features) -> int:
    """What an example's features take on disk."""
    return int(features.stats["bytes"] / max(1, sum(features.counts.values())))


def _domain(job: Job, features: Features, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """How far the examples are from what the network was trained on; None where nobody knows."""
    if not _knows(features.model):
        return None
    job.doing("comparing with what the giant was trained on")
    known = {row["id"] for row in rows if row["split"] == "train"}
    some = itertools.islice(dataset.rows(features.examples, "train", known), _ASKED)
    raws = [row.raw for row in some]
    reader = open_reader(features.model)
    decoded = reader.read([""] * len(raws), raws, [0] * len(raws))
    network = open_frozen(features.model, features.model.weights)
    apart = domain.distance(network, one_or_all(decoded.inputs))
    return None if apart is None else {"distance": apart, "place": domain.place(apart)}


def _own_head(job: Job, features: Features) -> dict[str, float] | None:
    """How sure the head is of the examples that the giant was published with.

    `confidence`, the mean of the greatest probability; `entropy`, as a share of the most there is.
    """
    if not features.model.own_head.is_file():
        return None
    training, _ = inputs_of(job, features, "taps")
    width = list(features.taps.values())[-1]
    last = training.gather(np.arange(len(training)), 0)[:, -width:]
    with np.load(features.model.own_head, allow_pickle=False) as head:
        said = scipy.special.softmax(last @ head["kernel"] + head["bias"], axis=1)
    entropy = scipy.special.entr(said).sum(axis=1) / np.log(said.shape[1])
    return {"confidence": float(said.max(axis=1).mean()), "entropy": float(entropy.mean())}
