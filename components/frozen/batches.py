"""Features → batches to train on: from the store or computed now, a view of each an epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from etils import epy

from components.artifacts import Features
from components.files import read_jsonl
from components.frozen.activations import Activations
from components.job import Job
from models.minibatches import Data, one_hot

with epy.lazy_imports():
    from components.frozen import live

# A split is read at once rather than a batch at a time, where it takes no more than this.
IN_MEMORY = 256 << 20
_Rows = list[dict[str, int | str]]
_Gather = Callable[[np.ndarray, int], list[np.ndarray]]
_Source = tuple[_Gather, Callable[[int], np.ndarray] | None]


def training_data(job: Job, features: Features, output: str) -> tuple[Data, Data]:
    """The training and the validation examples of `features`.

    Args:
        output: `pooled` or `crossing`.

    Returns:
        Data whose inputs are an array, or a list of them where several tensors cross.
        Epoch e sees view e mod V of every training example, or one of its own where views are
        fresh, and view 0 of every validation one.
    """
    rows = list(read_jsonl(features.directory / "rows.jsonl"))
    train, validation = ([r for r in rows if r["split"] == s] for s in ("train", "validation"))

    def data(rows: _Rows, views: int | str) -> Data:
        labels = np.array([row["label"] for row in rows], np.int64)
        if output in features.keys:
            gather, lengths = _stored(features, output, rows, views)
        else:
            gather, lengths = _live(job.scratch, features, output, rows, views)

        def inputs(chosen: np.ndarray, epoch: int) -> np.ndarray | list[np.ndarray]:
            tensors = gather(chosen, epoch)
            return tensors[0] if len(tensors) == 1 else tensors

        return Data(one_hot(labels, len(features.model.labels)), inputs, lengths)

    return data(train, features.augment.views), data(validation, 1)


def _stored(features: Features, output: str, rows: _Rows, views: int | str) -> _Source:
    variants = features.variants[: int(views)]
    names = [f"{row['id']}{variant}" for variant in variants for row in rows]
    store = Activations.existing(features.store, features.keys[output])
    reader = store.reader(names)
    # The bytes on disk, at most doubled by float32. What is ragged is padded by the batch.
    small = 2 * len(names) * store.row_bytes(1) <= IN_MEMORY and reader.lengths is None
    everything = reader.gather(np.arange(len(names))) if small else None

    def at(chosen: np.ndarray, epoch: int) -> np.ndarray:
        return chosen + (epoch % len(variants)) * len(rows)

    def gather(chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
        found = at(chosen, epoch)
        return [t[found] for t in everything] if everything is not None else reader.gather(found)

    def lengths(epoch: int) -> np.ndarray:
        assert reader.lengths is not None
        found: np.ndarray = reader.lengths[at(np.arange(len(rows)), epoch)]
        return found

    return gather, lengths if reader.lengths is not None else None


def _live(scratch: Path, features: Features, output: str, rows: _Rows, views: int | str) -> _Source:
    source = live.Live(scratch, features, output, rows)

    def gather(chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
        # View 0 is the example itself: fresh ones begin after it.
        return source.gather(chosen, epoch + 1 if views == "fresh" else epoch % int(views))

    sizes = source.lengths
    return gather, None if sizes is None else lambda epoch: sizes
