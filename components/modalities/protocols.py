"""What a modality is: how examples of a kind are read, and where their giants come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from etils import epy

from components.artifacts import AssembledModel
from components.modalities.giants import Giant, Pretrained
from components.section import Section, Views

with epy.lazy_imports():
    import keras

# Rows of raw examples: (id, raw form, numbers of the views that are wanted).
Rows = Callable[[], Iterable[tuple[bytes, bytes, list[int]]]]


@dataclass(frozen=True)
class Decoded:
    """A batch as the network reads it.

    Attributes:
        ids: (batch,) of bytes.
        views: (batch,) of ints.
        inputs: (batch, …) for each of the network's inputs; those that are ragged, padded with 0.
        lengths: (batch,), how long each example is in the ragged ones; None where none is.
    """

    ids: np.ndarray
    views: np.ndarray
    inputs: list[np.ndarray]
    lengths: np.ndarray | None = None


@dataclass(frozen=True)
class Survey:
    """How long examples are in what is ragged.

    Attributes:
        length: the mean; 1 where nothing is ragged.
        cut_short: the share that is longer than what is read of it …
        note: … as a sentence; empty where there is none.
    """

    length: int = 1
    cut_short: float = 0.0
    note: str = ""


class Reader(Protocol):
    """From raw examples to what one network reads: in extract, in live batches and served.

    Attributes:
        endpoint: the name of the exported model's signature that takes `inputs`.
        inputs: a named `tf.TensorSpec` of (batch, …) for each of the network's inputs.
        tracked: what the graph of `serve` needs besides itself, such as a vocabulary.
    """

    endpoint: str
    inputs: list[Any]
    tracked: list[Any]

    def batches(self, rows: Rows, batch_size: int, *, augmented: bool) -> Iterator[Decoded]:
        """All views of all rows, in an order of the reader's own, ahead of their use.

        Args:
            augmented: whether any view is not view 0, the example itself.
        """

    def read(self, ids: list[str], raws: list[bytes], views: list[int]) -> Decoded:
        """One batch, a view of each example."""

    def serve(self, raws: Any) -> tuple[list[Any], Any]:
        """For a graph: (batch,) of strings → the inputs, and (batch,) whether each is usable."""

    def survey(self, raws: Iterable[bytes]) -> Survey:
        """How long these examples are."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """What the stages need to know about a kind of input.

    Attributes:
        plural: what examples are called.
        column: what a table (CSV, JSONL) calls the column with the example.
        is_path: the column, or the listing of a folder, names a file with the example.
        section: the name of its own section of the config, …
        config: … the section itself, …
        view_options: … and the keys of it that decide the views.
        poolings: the values of `model.pooling` that it has besides `auto`.
        policies: the names that `augment.policies` may have.
        usual: those that are meant where none are given.
        model_dependent: those whose views depend on what the giant has learned.
        feature: → the TFDS feature that stores an example's raw form.
        check: raw → facts (width, height …); raises ValueError with the reason it is unusable.
        canonical: raw → the form that two examples share which must be on one side of a split.
        may_repeat: the same example may come again without anybody's mistake: where the data's own
            splits share one, the copy in training is set aside. Otherwise it is an error.
        find: (config, own section, download) → the giant that is asked for.
        find_weights: (config, own section, giant, download) → its published weights.
        begin: (config, own section, giant, directory, published) → the network with published or
            random weights, its form, its pooling; what is needed to build it again is left in the
            directory.
        build: model → its network again, with random weights.
        blocks: model → the arguments of `splitting.block_starts`.
        reader: (model, views, seed) → its reader.
        contract: model → the preprocessing in words, to travel with the model.
        warnings: the summary → what a person should know of it, a sentence each.
        summary: each fact → how often each of its values occurs → figures for the report.
        sample: → a made-up raw example, for warming up a server.
        load_ops: lets TensorFlow know the ops that an exported model may have.
        show: (raw, ask) → HTML that shows the example in the report. `ask` says of raw examples
            how much each speaks for the answer that the first one gets, (examples,), to find out
            what counted.
        legend: what a person must know to read that; may be empty.
    """

    plural: str
    column: str
    is_path: bool
    section: str
    config: type[Section]
    view_options: tuple[str, ...]
    poolings: tuple[str, ...]
    policies: tuple[str, ...]
    usual: tuple[str, ...]
    model_dependent: frozenset[str]
    feature: Callable[[], Any]
    check: Callable[[bytes], dict[str, Any]]
    canonical: Callable[[bytes], bytes]
    may_repeat: bool
    find: Callable[..., Giant]
    find_weights: Callable[..., Pretrained]
    begin: Callable[..., tuple[keras.Model, Any, str]]
    build: Callable[[AssembledModel], keras.Model]
    blocks: Callable[[AssembledModel], tuple[str, bool]]
    reader: Callable[[AssembledModel, Views, int], Reader]
    contract: Callable[[AssembledModel], dict[str, Any]]
    summary: Callable[[dict[str, Counter[Any]]], dict[str, Any]]
    warnings: Callable[[dict[str, Any]], list[str]]
    sample: Callable[[], bytes]
    load_ops: Callable[[], None]
    show: Callable[[bytes, Callable[[list[bytes]], np.ndarray]], str]
    legend: str = ""
