"""Features → batches to train on: gathered from the store, a view of each example an epoch."""

from __future__ import annotations

import numpy as np

from components.activations import Activations
from components.artifacts import Features
from components.files import read_jsonl
from models.training import Data, one_hot


def training_data(features: Features, output: str, *, in_memory: bool) -> tuple[Data, Data]:
    """The training and the validation examples of `features`.

    Args:
        output: `pooled` or `crossing`.
        in_memory: read everything now, instead of each batch from the memory map.

    Returns:
        Data whose inputs are a float32 array, or a list of them where several tensors cross.
        Epoch e sees view e mod V of every training example, and view 0 of every validation one.
    """
    rows = list(read_jsonl(features.directory / "rows.jsonl"))
    train = [row for row in rows if row["split"] == "train"]
    validation = [row for row in rows if row["split"] == "validation"]
    return (
        _data(features, output, train, features.variants, in_memory),
        _data(features, output, validation, features.variants[:1], in_memory),
    )


def _data(
    features: Features,
    output: str,
    rows: list[dict[str, int | str]],
    variants: tuple[str, ...],
    in_memory: bool,
) -> Data:
    names = [f"{row['id']}{variant}" for variant in variants for row in rows]
    reader = Activations.existing(features.store, features.keys[output]).reader(names)
    labels = np.array([row["label"] for row in rows], np.int64)
    everything = reader.gather(np.arange(len(names))) if in_memory else None

    def gather(chosen: np.ndarray, epoch: int) -> np.ndarray | list[np.ndarray]:
        at = chosen + (epoch % len(variants)) * len(rows)
        tensors = [t[at] for t in everything] if everything is not None else reader.gather(at)
        return tensors[0] if len(tensors) == 1 else tensors

    return Data(one_hot(labels, len(features.model.labels)), gather)
