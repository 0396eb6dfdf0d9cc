"""The training examples as a trained model sees them, to know what is unlike all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import TrainedModel
from components.frozen.batches import Inputs, columns_of, inputs_of
from components.frozen.networks import open_backbone, tail
from components.job import Job

with epy.lazy_imports():
    import keras

    from models import novelty

# So many are passed through what was fine-tuned at once, and no more than so many in all.
_BATCH, _PASSED = 64, 1024
# Of more validation examples than this, or than a quarter of all, those of the first ids are used.
_OTHERS = 2048
# (what is stored of the training or the validation examples, which of them) → their features.
_Seen = Callable[[Inputs, np.ndarray], np.ndarray]


def reference(job: Job, model: TrainedModel, known: float) -> novelty.Reference | None:
    """Some of the training examples in the features that the head reads, by what is stored.

    None where nothing is: what is computed anew each epoch is not computed once more for this.

    Args:
        known: the share of validation examples that are to be taken for known.
    """
    found = _stored(job, model)
    if found is None:
        return None
    (training, validation), seen = found
    width = seen(training, np.arange(1)).shape[1]
    most = min(novelty.EXAMPLES, max(4, novelty.MOST // width))
    if model.backbone_changed:
        most = min(most, _PASSED)
    asked = _first(validation, min(_OTHERS, most // 4))
    others = seen(validation, asked)
    rows = _first(training, most - len(asked))
    features = seen(training, rows)
    return novelty.Reference.of(
        features, _ids(training, rows), others, _ids(validation, asked), known
    )


def _ids(inputs: Inputs, rows: np.ndarray) -> list[str]:
    return [str(inputs.rows[row]["id"]) for row in rows]


def _first(inputs: Inputs, most: int) -> np.ndarray:
    """Positions of those with the first ids, which are hashes: a sample that hardly changes."""
    order = sorted(range(len(inputs)), key=lambda row: str(inputs.rows[row]["id"]))
    return np.array(sorted(order[:most]))


def _stored(job: Job, model: TrainedModel) -> tuple[tuple[Inputs, Inputs], _Seen] | None:
    features, taps = model.features, model.form.taps
    output = "taps" if taps else "pooled"
    if not model.backbone_changed:
        if output not in features.keys:
            return None
        columns = columns_of(features, taps) if taps else slice(None)
        return inputs_of(job, features, output), lambda some, rows: some.gather(rows, 0)[:, columns]
    if "at_cut" not in features.keys:
        return None
    network = open_backbone(model.base, model.backbone_weights)
    suffix, below = tail(model.base, network, features.cut, taps)
    return inputs_of(job, features, "at_cut", below), lambda some, rows: _passed(suffix, some, rows)


def _passed(suffix: keras.Model, inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    said: list[Any] = [suffix(inputs.gather(part, 0), training=False) for part in parts]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in said])
