"""score: how a trained model does on the examples to validate with, which a search may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import HELD_OUT, WATCHED, Features, Score, TrainedModel
from components.files import write_jsonl
from components.frozen.batches import columns_of
from components.frozen.networks import open_backbone, tail
from components.job import Job, stage
from components.tasks.learning import Learning
from components.tasks.table import slices, task_of
from components.training import paired
from components.training.data import TrainingData, training_data
from components.training.heads import open_head
from components.training.paired import Outputs

with epy.lazy_imports():
    import keras

    from models import folding, hardware, heads


@stage(version=3, any_backend=True)
def score(job: Job, model: TrainedModel, learning: Learning) -> Score:
    """The loss and what is watched, by what is stored of the examples.

    Args:
        model: whose head has not seen them.
    """
    features = model.features
    data, ask = _asked(job, model, features, learning)
    found = paired.outputs(data.validation, ask)
    losses = paired.lost(found, data, features.model.targets, learning)
    np.save(job.directory / "losses.npy", losses)
    answers = zip(*data.answers, strict=True)
    write_jsonl(
        job.directory / HELD_OUT,
        (
            {"answers": list(own), "outputs": said.tolist()}
            for own, said in zip(answers, found.said, strict=True)
        ),
    )
    watched = _watched(features, found)
    np.savez(job.directory / WATCHED, allow_pickle=False, **watched)
    loss = float(losses.mean())
    return Score(
        directory=job.directory,
        model=model,
        loss=loss,
        stats={"loss": loss, **_figures(watched)},
    )


def _asked(
    job: Job, model: TrainedModel, features: Features, learning: Learning
) -> tuple[TrainingData, Callable[[Any], np.ndarray]]:
    """The examples, and what gives the outputs of what is read of them."""
    if features.block is None:
        kind = "taps" if model.form.taps or "taps" in features.keys else "pooled"
        data = training_data(job, features, kind, learning)
        columns: Any = slice(None)
        if kind == "taps":
            columns = columns_of(features, model.form.taps or list(features.taps)[-1:])
        some = data.validation.gather(np.arange(1), 0)[0][:, columns]
        head = open_head(model, features=some.shape[1])
        return data, lambda inputs: keras.ops.convert_to_numpy(
            head(inputs[:, columns], training=False)
        )
    network = open_backbone(model.base, model.backbone_weights)
    suffix, stored = tail(model.base, network, features.cut, model.form.taps)
    head = open_head(model, features=suffix.output_shape[-1])
    whole = heads.join(folding.fold(suffix), head)
    whole.compile(jit_compile=hardware.jit_compile())
    data = training_data(job, features, "at_cut", learning, stored)
    return data, lambda inputs: np.asarray(whole.predict_on_batch(inputs))


def _watched(features: Features, found: Outputs) -> dict[str, np.ndarray]:
    """What is watched of each target, (examples,) of those with an answer."""
    told = {}
    for number, (target, columns) in enumerate(slices(features.model.targets)):
        there = found.weights[:, number] > 0
        for watched in task_of(target).watched(target.space):
            values = watched.of_each(found.wanted[there][:, columns], found.said[there][:, columns])
            told[target.named(watched.name)] = np.array(keras.ops.convert_to_numpy(values))
    return told


def _figures(watched: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {f"val_{name}": float(values.mean()) for name, values in watched.items()}
