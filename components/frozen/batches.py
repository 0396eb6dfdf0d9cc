"""What a phase reads of the examples: from the store or computed now, a view of each an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Features
from components.files import read_jsonl
from components.frozen.activations import Activations
from components.job import Job
from models.splitting import one_or_all

with epy.lazy_imports():
    from components.frozen import live

# A split is read at once rather than a batch at a time, where it takes no more than this.
IN_MEMORY = 256 << 20
Rows = list[dict[str, Any]]
_Gather = Callable[[np.ndarray, int], list[np.ndarray]]
_Source = tuple[_Gather, Callable[[int], np.ndarray] | None]


@dataclass(frozen=True)
class Inputs:
    """What is read of the examples of one split.

    Attributes:
        rows: id, split and answers of each example.
        gather: (positions in `rows`, epoch) → an array, or a list of them where several tensors
            cross.
        lengths: see `minibatches.Data`.
    """

    rows: Rows
    gather: Callable[[np.ndarray, int], Any]
    lengths: Callable[[int], np.ndarray] | None

    def __len__(self) -> int:
        return len(self.rows)


def inputs_of(
    job: Job, features: Features, output: str, taps: Sequence[str] = ()
) -> tuple[Inputs, Inputs]:
    """What is read of the training and the validation examples of `features`.

    Epoch e sees view e mod V of every training example, or one of its own where views are
    fresh, and view 0 of every validation one.

    Args:
        output: `pooled`, `taps` or `at_cut`.
        taps: those of which the features are read after all else.
    """
    rows = list(read_jsonl(features.directory / "rows.jsonl"))

    def of(split: str, views: int | str) -> Inputs:
        own = [row for row in rows if row["split"] == split]
        if output in features.keys:
            gather, lengths = _stored(features, output, own, views)
        else:
            gather, lengths = _live(job.scratch, features, output, own, views)
        if taps:
            gather = _with_taps(features, gather, own, views, taps)
        return Inputs(own, lambda chosen, epoch: one_or_all(gather(chosen, epoch)), lengths)

    return of("train", features.views.views), of("validation", 1)


def _stored(features: Features, output: str, rows: Rows, views: int | str) -> _Source:
    variants = features.variants[: int(views)]
    # Of what was to validate with, when it was stored, there is one view.
    names = [
        row["id"] if row.get("alone") else f"{row['id']}{variant}"
        for variant in variants
        for row in rows
    ]
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


def columns_of(features: Features, taps: Sequence[str]) -> Any:
    """An index of the columns of what is stored of all taps, for some of them."""
    if list(taps) == list(features.taps):
        return slice(None)  # All of them need no copying.
    ends = np.cumsum([0, *features.taps.values()])
    at = {name: np.arange(*ends[n : n + 2]) for n, name in enumerate(features.taps)}
    return np.concatenate([at[name] for name in taps])


def _with_taps(
    features: Features,
    gather: _Gather,
    rows: Rows,
    views: int | str,
    taps: Sequence[str],
) -> _Gather:
    """What `gather` gives, and some of the taps beside it."""
    columns = columns_of(features, taps)
    beside, _ = _stored(features, "taps", rows, views)
    return lambda chosen, epoch: [*gather(chosen, epoch), beside(chosen, epoch)[0][:, columns]]


def _live(scratch: Path, features: Features, output: str, rows: Rows, views: int | str) -> _Source:
    source = live.Live(scratch, features, output, rows)

    def gather(chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
        # View 0 is the example itself: fresh ones begin after it.
        return source.gather(chosen, epoch + 1 if views == "fresh" else epoch % int(views))

    sizes = source.lengths
    return gather, None if sizes is None else lambda epoch: sizes
