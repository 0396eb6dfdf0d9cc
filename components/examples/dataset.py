"""Examples as a TFDS dataset: how they are written, and how they are read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds

from components.artifacts import Examples
from components.examples.placing import LABEL
from components.modalities.table import MODALITIES
from components.tasks.protocol import Answer, Target
from components.tasks.table import task_of


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


def read(examples: Examples, split: str) -> Any:
    """A `tf.data.Dataset` of {id, name, MODALITY (raw bytes), the answers}, in a fixed order."""
    builder = tfds.builder_from_directory(examples.dataset)
    return builder.as_dataset(
        split=split,
        decoders={examples.modality: tfds.decode.SkipDecoding()},
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )


def answers(row: dict[str, Any], targets: tuple[Target, ...]) -> list[Answer]:
    """The answers of an example of `read`, as NumPy has it."""
    return [task_of(t).restored(row[t.name or LABEL], t.space) for t in targets]
