"""What a modality is: a package with a module for each of four protocols.

`Raw`, `Giants`, `Reader` and `Shown`; a module can be one (PEP 544).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from etils import epy
from pydantic import BaseModel

from components.artifacts import AssembledModel
from components.modalities.giants import Giant, ModelConfig, Pretrained
from components.section import Section, Views
from models.taps import Pooled

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


class Raw(Protocol):
    """A raw example: what it is, and whether it will do.

    Attributes:
        plural: what examples are called.
        column: what a table (CSV, JSONL) calls the column with the example.
        in_tfds: what datasets of TFDS call the feature with the example.
        is_path: the column, or the listing of a folder, names a file with the example.
        suffixes: what files with examples usually end in.
        may_repeat: the same example may come again without anybody's mistake: where the data's own
            splits share one, the copy in training is set aside. Otherwise it is an error.
        measures: what `measured` gives, in words.
        slices: the facts by which test examples are judged in parts.
    """

    plural: str
    column: str
    in_tfds: str
    is_path: bool
    suffixes: tuple[str, ...]
    may_repeat: bool
    measures: str
    slices: tuple[str, ...]

    def feature(self) -> Any:
        """The TFDS feature that stores an example's raw form."""

    def of_tfds(self, feature: Any, value: Any) -> bytes:
        """The raw form of an example of any TFDS dataset, as it is stored there.

        Args:
            feature: the dataset's own.
            value: of it, not decoded.
        """

    def check(self, raw: bytes) -> dict[str, Any]:
        """Facts (width, height …); raises ValueError with the reason it is unusable."""

    def converted(self, raw: bytes) -> bytes:
        """A form that can be served, of one that can only be decoded; or the very bytes."""

    def canonical(self, raw: bytes) -> bytes:
        """The form that two examples share which must be on one side of a split."""

    def summary(self, facts: dict[str, Counter[Any]]) -> dict[str, Any]:
        """Each fact → how often each of its values occurs → figures for the report."""

    def warnings(self, summary: dict[str, Any]) -> list[str]:
        """What a person should know of the summary, a sentence each."""

    def measured(self, facts: dict[str, Any]) -> list[float]:
        """What can be told of an example without looking at it, as numbers: `measures`."""

    def sample(self) -> bytes:
        """A made-up raw example, for warming up a server."""


class Giants(Protocol):
    """Where pretrained networks come from, and how they are built.

    `own` is the modality's section of the config.

    Attributes:
        poolings: the values of `model.pooling` that they have besides `auto`.
        others: which giants know what, in a sentence or two.
    """

    poolings: tuple[str, ...]
    others: str

    def find(self, config: ModelConfig, own: Any, *, download: bool) -> Giant:
        """The giant that is asked for."""

    def find_weights(
        self, config: ModelConfig, own: Any, giant: Giant, *, download: bool
    ) -> Pretrained:
        """Its published weights."""

    def at_hand(self) -> list[str]:
        """Values of `model.backbone` whose published weights are on this machine."""

    def small(self, giant: Giant) -> Giant:
        """A small network that reads what `giant` reads, to be trained from scratch."""

    def begin(
        self, config: ModelConfig, own: Any, giant: Giant, directory: Path, *, published: bool
    ) -> tuple[keras.Model, BaseModel, str]:
        """The network with published or random weights, its form and its pooling.

        What is needed to build it again is left in the directory, and the head that it was
        published with, where it has one: see `AssembledModel`.
        """

    def load(self, giant: Giant, network: keras.Model, path: Path) -> None:
        """Read a file of weights into `network`, or raise a `Mistake`."""

    def build(self, model: AssembledModel) -> keras.Model:
        """The network of `model` again, with random weights."""

    def block_names(self, config: ModelConfig, own: Any, giant: Giant) -> list[str]:
        """The blocks of the network that `begin` would give; none where it is not there yet."""

    def blocks(self, model: AssembledModel) -> tuple[str, bool]:
        """The arguments of `splitting.block_starts`."""

    def pooled(self, model: AssembledModel, network: keras.Model) -> Pooled:
        """What vectors are made of the output of a block of `network`."""

    def contract(self, model: AssembledModel) -> dict[str, Any]:
        """The preprocessing in words, to travel with the model."""

    def load_ops(self) -> None:
        """Let TensorFlow know the ops that an exported model may have."""


class Shown(Protocol):
    """What a person sees of an example.

    Attributes:
        legend: what must be known to read that; may be empty.
        explained: of how many examples it is worth the time to find out what counted.
    """

    legend: str
    explained: int

    def show(self, raw: bytes, ask: Callable[[list[bytes]], np.ndarray] | None) -> str:
        """HTML that shows the example in the report.

        Args:
            ask: raw examples → how much each speaks for the answer that the first one gets,
                (examples,), to find out what counted; None to leave that out.
        """

    def read(self, model: AssembledModel, inputs: Sequence[np.ndarray]) -> tuple[bytes, str]:
        """What a network reads of one example, to be looked at: a file, and its media type.

        Args:
            inputs: of the network, without the axis of the batch.
        """


Pieces = Callable[[Path, Mapping[str, Any], float], tuple[float, Iterator[tuple[float, bytes]]]]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A kind of input.

    Attributes:
        section: the name of its own section of the config, …
        config: … the section itself, …
        view_options: … and the keys of it that decide the views.
        policies: the names that `augment.policies` may have.
        usual: those that are meant where none are given.
        model_dependent: those whose views depend on what the giant has learned.
        scratch_views: how many views of an example a network wants that is trained from scratch.
        reader: (model, views, seed) → its reader.
        pieces: (file, contract, seconds) → how long the example in the file is, and what a model
            with that contract can be asked about, bit by bit: where the middle of each bit is, so
            many seconds apart, and its raw form. None where examples have no duration.
    """

    section: str
    config: type[Section]
    view_options: tuple[str, ...]
    policies: tuple[str, ...]
    usual: tuple[str, ...]
    model_dependent: frozenset[str]
    scratch_views: int
    raw: Raw
    giants: Giants
    reader: Callable[[AssembledModel, Views, int], Reader]
    shown: Shown
    pieces: Pieces | None = None
