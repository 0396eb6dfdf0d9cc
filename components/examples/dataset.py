"""Examples as a TFDS dataset: how they are written, and how they are read back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from components.artifacts import Examples
from components.examples.placing import INDEX, LABEL
from components.files import read_jsonl
from components.modalities.table import MODALITIES
from components.tasks.protocol import Answer, Target
from components.tasks.table import task_of

# Rows that are parsed at once, and about how many bytes at most.
_MOST_ROWS, _BATCH_BYTES = 512, 8 << 20


class Builder(tfds.core.GeneratorBasedBuilder):
    """The TFDS builder of every dataset that `ingest` writes.

    Args:
        splits: each split → a function that gives its (key, example).
    """

    VERSION = tfds.core.Version("1.0.0")
    name = "examples"

    def __init__(
        self,
        *,
        splits: dict[str, Callable[[], Iterator[Any]]],
        modality: str,
        targets: tuple[Target, ...],
        **arguments: Any,
    ) -> None:
        self._splits = splits
        self._modality = modality
        self._targets = targets
        super().__init__(**arguments)

    def write(self) -> None:
        """Write all splits."""
        self.download_and_prepare()
        self._splits = {}  # TFDS keeps every builder for good, and this one its examples.

    def _info(self) -> Any:
        features = {
            "id": tfds.features.Text(),
            "name": tfds.features.Text(),
            self._modality: MODALITIES[self._modality].raw.feature(),
            **{t.name or LABEL: task_of(t).feature(t.space) for t in self._targets},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=(self._modality, self._targets[0].name or LABEL),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: examples() for split, examples in self._splits.items()}

    def _generate_examples(self, **_: Any) -> Any:
        raise NotImplementedError("the splits generate their examples")


class Row(NamedTuple):
    """An example as it is stored."""

    id: str
    name: str
    raw: bytes


def rows(examples: Examples, split: str, only: Collection[str] | None = None) -> Iterator[Row]:
    """The examples of a split, of those ids if `only` is given, in a fixed order.

    They are parsed many at a time: TFDS's own way takes fifty times as long for short texts.
    """
    if not examples.counts[split]:
        return
    left = None if only is None else set(only)
    written = (examples.dataset / "dataset_info.json").stat().st_mtime_ns
    info = _splits(examples.dataset, written)[split]
    size = max(1, min(_MOST_ROWS, _BATCH_BYTES * info.num_examples // max(1, info.num_bytes)))
    names = ("id", "name", examples.modality)
    spec = {name: tf.io.FixedLenFeature((), tf.string) for name in names}
    records = tf.data.TFRecordDataset(info.filepaths).batch(size)
    parsed = records.map(lambda batch: tf.io.parse_example(batch, spec)).prefetch(1)
    for batch in parsed.as_numpy_iterator():
        for identity, name, raw in zip(*(batch[name] for name in names), strict=True):
            row = Row(identity.decode(), name.decode(), raw)
            if left is None or row.id in left:
                yield row
            if left is not None:
                left.discard(row.id)
        if left is not None and not left:
            return


@functools.lru_cache(maxsize=4)
def _splits(directory: Path, written: int) -> Any:
    """Of the dataset that was written then; TFDS never forgets one that it has opened."""
    del written
    return tfds.builder_from_directory(directory).info.splits


def answers(examples: Examples, split: str) -> Callable[[Row], list[Answer]]:
    """What gives the answers of each row of a split, once: the same text may have several."""
    left: dict[tuple[str, str], list[list[Answer]]] = {}
    for row in read_jsonl(examples.directory / INDEX):
        if row["split"] == split:
            left.setdefault((row["id"], row["name"]), []).append(row["answers"])
    return lambda row: left[row.id, row.name].pop()
