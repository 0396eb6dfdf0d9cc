"""The first batch of training, as a giant reads it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import AssembledModel, Examples
from components.examples.placing import INDEX
from components.files import read_jsonl
from components.modalities.table import MODALITIES, open_reader
from models import minibatches
from pipeline.config import Config

with epy.lazy_imports():
    from components.examples import dataset

# So many are looked at, and so many views of each.
_EXAMPLES, _VIEWS = 12, 4


def first(config: Config, model: AssembledModel, examples: Examples) -> dict[str, Any]:
    """The examples that a head is given first, with what the network reads of each view.

    Returns:
        `rows`: id, name, answers, and `views`: their number, media type and content in base64;
        `size` of the batch; how many `views` the run has; and the `modality`.
    """
    rows = [row for row in read_jsonl(examples.directory / INDEX) if row["split"] == "train"]
    order = np.random.default_rng([config.seed, 0]).permutation(len(rows))
    chosen, weights = next(minibatches.batches(order, config.head.batch_size))
    batch = [rows[at] for at in chosen[weights > 0]]
    some = batch[:_EXAMPLES]
    raws = {
        row.id: row.raw for row in dataset.rows(examples, "train", only=[row["id"] for row in some])
    }
    given = config.views.views
    views = list(range(_VIEWS if given == "fresh" else min(given, _VIEWS)))
    reader = open_reader(model, config.views, config.seed)
    shown = MODALITIES[model.modality].shown
    told: list[dict[str, Any]] = [{**_said(row), "views": []} for row in some]
    for view in views:
        ids = [row["id"] for row in some]
        decoded = reader.read(ids, [raws[each] for each in ids], [view] * len(ids))
        for at, row in enumerate(told):
            content, kind = shown.read(model, [tensor[at] for tensor in decoded.inputs])
            data = base64.b64encode(content).decode()
            row["views"].append({"view": view, "kind": kind, "data": data})
    return {"rows": told, "size": len(batch), "views": given, "modality": model.modality}


def _said(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("id", "name", "answers")}
