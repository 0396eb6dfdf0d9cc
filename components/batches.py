"""Features → batches to train on: from the store or computed now, a view of each an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from etils import epy

from components.activations import Activations
from components.artifacts import Features
from components.files import read_jsonl
from components.job import Job
from models.training import Data, one_hot

with epy.lazy_imports():
    from components import live

# A split is read at once rather than a batch at a time, where it takes no more than this.
IN_MEMORY = 256 << 20
_Rows = list[dict[str, int | str]]
_Gather = Callable[[np.ndarray, int], list[np.ndarray]]


def training_data(job: Job, features: Features, output: str) -> tuple[Data, Data]:
    """The training and the validation examples of `features`.

    Args:
        output: `pooled` or `crossing`.

    Returns:
        Data whose inputs are a float32 array, or a list of them where several tensors cross.
        Epoch e sees view e mod V of every training example, or one of its own where views are
        fresh, and view 0 of every validation one.
    """
    rows = list(read_jsonl(features.directory / "rows.jsonl"))
    train, validation = ([r for r in rows if r["split"] == s] for s in ("train", "validation"))

    def source(rows: _Rows, views: int | str) -> _Gather:
        if output in features.keys:
            return _stored(features, output, rows, views)
        return _live(job.scratch, features, output, rows, views)

    return (
        _data(features, train, source(train, features.views)),
        _data(features, validation, source(validation, 1)),
    )


def _data(features: Features, rows: _Rows, gather: _Gather) -> Data:
    labels = np.array([row["label"] for row in rows], np.int64)

    def inputs(chosen: np.ndarray, epoch: int) -> np.ndarray | list[np.ndarray]:
        tensors = gather(chosen, epoch)
        return tensors[0] if len(tensors) == 1 else tensors

    return Data(one_hot(labels, len(features.model.labels)), inputs)


def _stored(features: Features, output: str, rows: _Rows, views: int | str) -> _Gather:
    variants = features.variants[: int(views)]
    names = [f"{row['id']}{variant}" for variant in variants for row in rows]
    store = Activations.existing(features.store, features.keys[output])
    reader = store.reader(names)
    values = sum(math.prod(shape) for shape, _ in store.tensors)
    small = len(names) * values * np.float32().nbytes <= IN_MEMORY
    everything = reader.gather(np.arange(len(names))) if small else None

    def gather(chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
        at = chosen + (epoch % len(variants)) * len(rows)
        return [t[at] for t in everything] if everything is not None else reader.gather(at)

    return gather


def _live(scratch: Path, features: Features, output: str, rows: _Rows, views: int | str) -> _Gather:
    source = live.Live(scratch, features, output, rows)

    def gather(chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
        # View 0 is the example itself: fresh ones begin after it.
        return source.gather(chosen, epoch + 1 if views == "fresh" else epoch % int(views))

    return gather
