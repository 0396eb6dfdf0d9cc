"""Raw examples to be predicted: listed one after the other, without labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epy

from components.examples.in_tfds import feature_of, open_builder
from components.examples.tables import READERS, NoRow, raw_text, read_rows
from components.examples.walking import outside, walk
from components.files import MOST_BYTES, content_id, read_regular
from components.modalities.table import MODALITIES
from models.mistakes import Mistake, printable

with epy.lazy_imports():
    import tensorflow_datasets as tfds


@dataclass(frozen=True)
class Input:
    """One raw example. `raw` is None where `path` holds it; `problem` says why there is none."""

    name: str
    path: str = ""
    raw: bytes | None = None
    problem: str = ""

    def read(self) -> bytes:
        """The raw form; OSError or ValueError where it cannot be read."""
        if self.problem:
            raise ValueError(self.problem)
        return read_regular(Path(self.path), MOST_BYTES) if self.raw is None else self.raw


def listed(location: str, modality: str, root: str = "") -> Iterator[Input]:
    """The examples at `location`: a folder, a CSV or JSON Lines file, or one example's file.

    Args:
        root: where files must be, wherever links and the rows of tables lead; the folder, or that
            of the table, where not given.
    """
    path = Path(location)
    if path.is_dir():
        for found in walk(path, Path(root or path).resolve()):
            if not found.hidden:
                problem = _told(found.problem)
                yield Input(printable(found.path), found.path, problem=problem)
    elif path.is_file() and path.suffix in READERS:
        yield from _of_table(path, modality, Path(root or path.parent).resolve())
    elif path.is_file():
        yield _of_file(path)
    else:
        raise Mistake(f"INPUT must be a folder, a file or tfds:NAME, got {location!r}")


def open_tfds(location: str, modality: str) -> Any:
    """The builder of `tfds:NAME`, whose examples have what the model reads."""
    try:
        builder = open_builder(location)
        builder.download_and_prepare()
    except Exception as error:  # TFDS's own errors, and those of the network.
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(f"INPUT must name a TFDS dataset, got {location!r}: {reason}") from error
    if (name := feature_of(builder, modality)) not in builder.info.features:
        raise Mistake(f"INPUT must have the feature {name!r}, got {location!r}")
    return builder


def of_tfds(builder: Any, modality: str) -> Iterator[Input]:
    """All examples of a TFDS dataset, named after their content."""
    name = feature_of(builder, modality)
    decoders = {name: tfds.decode.SkipDecoding()}
    feature = builder.info.features[name]
    for split in builder.info.splits:
        rows = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        yield from (of_value(row[name], feature, modality) for row in rows.as_numpy_iterator())


def of_value(value: Any, feature: Any, modality: str) -> Input:
    """An example that has no name of its own, as a TFDS dataset has it stored."""
    try:
        raw = MODALITIES[modality].raw.of_tfds(feature, value)
    except ValueError as error:
        return Input("an example", problem=str(error))
    return Input(content_id(raw), raw=raw)


def _told(problem: str) -> str:
    return problem.replace("--data.root", "--root")


def _of_file(path: Path, name: str = "", problem: str = "") -> Input:
    """A name that is not UTF-8 could not be written down."""
    return Input(printable(name or str(path)), str(path), problem=_told(problem))


def _of_table(table: Path, modality: str, bound: Path) -> Iterator[Input]:
    row = MODALITIES[modality].raw
    for number, values in enumerate(read_rows(table, "INPUT", row.column), start=1):
        name, value = f"{table.name}:{number}", None
        if isinstance(values, dict):
            value = values.get(row.column)
        if isinstance(values, NoRow):
            yield Input(name, problem=values.problem)
        elif value is None:
            yield Input(name, problem=f"there is no {row.column}")
        elif row.is_path:
            path = table.parent / str(value)
            yield _of_file(path, str(value), outside(str(path), bound))
        else:
            yield Input(name, raw=raw_text(str(value)))
