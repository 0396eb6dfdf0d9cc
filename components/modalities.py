"""Kinds of input. A modality is a row here and a leaf module; no stage knows one by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from components import photos


class Shape(Protocol):
    """What decoding needs to know of a model; AssembledModel has it."""

    @property
    def input_size(self) -> int: ...
    @property
    def resize(self) -> str: ...


@dataclass(frozen=True)
class Modality:
    """What the stages need to know about a kind of input.

    Attributes:
        column: what a table (CSV, JSONL) calls the column with the example.
        is_path: the column, or the listing of a folder, names a file with the example.
        feature: → the TFDS feature that stores an example's raw form.
        check: raw → facts (width, height …); raises ValueError with the reason it is unusable.
        decode: (shape, raw scalar tensor) → the network's input, unbatched; fails on what is
            unusable. The only decoder: ingest, extract and the served model all use it.
        input_spec: shape → that input's tensor shape, unbatched.
        contract: shape → the preprocessing in words, to travel with the model.
        summary: list of facts → figures for the report.
        sample: → a made-up raw example, for warming up a server.
        thumbnail: raw → HTML that shows the example in the report.
    """

    column: str
    is_path: bool
    feature: Callable[[], Any]
    check: Callable[[bytes], dict[str, Any]]
    decode: Callable[[Shape, Any], Any]
    input_spec: Callable[[Shape], tuple[int | None, ...]]
    contract: Callable[[Shape], dict[str, Any]]
    summary: Callable[[list[dict[str, Any]]], dict[str, Any]]
    sample: Callable[[], bytes]
    thumbnail: Callable[[bytes], str]


MODALITIES: dict[str, Modality] = {
    "image": Modality(
        column="path",
        is_path=True,
        feature=photos.feature,
        check=photos.check,
        decode=photos.decode,
        input_spec=photos.input_spec,
        contract=photos.contract,
        summary=photos.summary,
        sample=photos.sample,
        thumbnail=photos.thumbnail,
    )
}
