"""Where raw examples come from: each kind of source is a row of `KINDS`.

A source is resolved before the flow: it is listed and its bytes are hashed, so that a changed
file is noticed whatever its size and times say, and passed to `ingest` as a value.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from etils import epy

from components.examples.tables import READERS, SPLIT_NAMES, Record, read
from components.files import sha256_of_each, sha256_of_json
from models.mistakes import Mistake

with epy.lazy_imports():
    import apache_beam as beam
    import numpy as np
    import tensorflow_datasets as tfds
    from PIL import Image
    from sklearn import datasets

TFDS = "tfds:"
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Source:
    """Raw examples at one place.

    Attributes:
        location: as the user wrote it.
        digest: over everything that decides what the examples are.
        labels: every class, sorted.
        splits: how many records are in each split; "" counts those not assigned to any.
        listing: the records, where they are files or rows of tables: who was handed the rest by
            another machine lists them again, and finds the same or an error.
    """

    location: str
    modality: str
    digest: str
    labels: tuple[str, ...]
    splits: dict[str, int]
    listing: tuple[Record, ...] | None = field(default=None, repr=False, compare=False)


def find_source(location: str, *, modality: str, download: bool = True) -> Source:
    """List and hash the examples at `location`; a `Mistake` says what is wrong with it.

    Args:
        download: prepare a TFDS dataset that is not there yet.
    """
    if not location:
        raise Mistake("data.path must name labelled examples, got nothing")
    for kind in KINDS:
        if kind.matches(location):
            return kind.find(location, modality, download)
    raise Mistake(f"data.path must exist, got {location!r}")


def is_place(location: str) -> bool:
    """Whether it is a folder or a file, not something that a package or a hub has."""
    return not any(kind.matches(location) for kind in KINDS[:2])


def iterate(source: Source) -> Iterator[Record]:
    """The records of `source`, always in the same order."""
    return _kind(source).iterate(source)


def records(source: Source, pipeline: Any) -> Any:
    """A Beam pipeline → its PCollection of the `Record`s of `source`."""
    kind = _kind(source)
    if kind.records:
        return kind.records(source, pipeline)
    return pipeline | "List" >> beam.Create(list(kind.iterate(source)))


def listed(source: Source) -> Source:
    """The source with its listing, where its kind has one: it need not be listed again."""
    if source.listing is not None or not is_place(source.location):
        return source
    again = find_source(source.location, modality=source.modality)
    if again.digest != source.digest:
        raise Mistake(
            f"data.path must not change while it is read, got {source.location!r}, which is "
            f"not what it was when the run began"
        )
    return again


def _kind(source: Source) -> Kind:
    return next(kind for kind in KINDS if kind.matches(source.location))


def _folder(location: str, modality: str, _: bool) -> Source:
    """Class folders; or train/, validation/ and test/ of such; or tables named after splits."""
    root = Path(location)
    tables = {p: SPLIT_NAMES[p.stem] for p in sorted(root.iterdir()) if _is_split_table(p)}
    if tables:
        listed = [(table, record) for table in tables for record in read(table, modality)]
        records = [r if r.split else _with_split(r, tables[table]) for table, r in listed]
        return _of_records(location, modality, records)
    folders = [path for path in sorted(root.iterdir()) if _is_visible_folder(path)]
    if any(path.name in ("train", "test") for path in folders):
        unknown = [path.name for path in folders if path.name not in SPLIT_NAMES]
        if unknown:
            raise Mistake(
                f"data.path must hold either splits or classes, got {location!r} with both "
                f"train/ or test/ and {unknown[0]}/"
            )
        splits = {path: SPLIT_NAMES[path.name] for path in folders}
    else:
        splits = {root: ""}
    classes = [
        (label, split)
        for folder, split in splits.items()
        for label in sorted(folder.iterdir())
        if _is_visible_folder(label)
    ]
    records = [
        Record(path.relative_to(root).as_posix(), label.name, split, str(path))
        for label, split in classes
        for path in sorted(label.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    if not records:
        raise Mistake(f"data.path must hold class folders with examples in them, got {location!r}")
    for name in sorted({label.name for label, _ in classes} - {r.label for r in records}):
        raise Mistake(
            f"data.path must have examples of every class, got {location!r} with an empty folder "
            f"{name!r}"
        )
    return _of_records(location, modality, records)


def _table(location: str, modality: str, _: bool) -> Source:
    """A CSV or JSON Lines file."""
    return _of_records(location, modality, list(read(Path(location), modality)))


def _tfds(location: str, modality: str, download: bool) -> Source:
    """A dataset of the TFDS catalogue by name, or a prepared one by its folder."""
    try:
        builder = tfds_builder(location)
        if download:
            builder.download_and_prepare()
        elif not builder.is_prepared():
            raise OSError("it is not prepared yet; a run does that")
    except Exception as error:  # TFDS's own errors, and those of the network.
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(f"data.path must name a TFDS dataset, got {location!r}: {reason}") from error
    if modality not in builder.info.features or not builder.info.supervised_keys:
        raise Mistake(f"data.path must have a feature {modality!r} and a label, got {location!r}")
    label = builder.info.supervised_keys[1]
    if not isinstance(builder.info.features[label], tfds.features.ClassLabel):
        raise Mistake(f"data.path must have classes for labels, got {location!r} with {label!r}")
    names = builder.info.features[label].names
    splits = _tfds_splits(builder)
    files = [Path(f) for split in splits for f in builder.info.splits[split].filepaths]
    return Source(
        location,
        modality,
        sha256_of_json([location.split("/")[-1], names, splits, sha256_of_each(files)]),
        tuple(sorted(names)),
        {SPLIT_NAMES.get(split, ""): count for split, count in splits.items()},
    )


def _tfds_records(source: Source, pipeline: Any) -> Any:
    builder = tfds_builder(source.location)
    parts = []
    for split in _tfds_splits(builder):
        rows = pipeline | f"Read {split}" >> tfds.beam.ReadFromTFDS(
            builder, split=split, decoders={source.modality: tfds.decode.SkipDecoding()}
        )
        given = (split, source.modality, *_tfds_labels(builder))
        parts.append(rows | f"Name {split}" >> beam.FlatMap(_from_tfds, *given))
    return parts | beam.Flatten()


def _tfds_iterate(source: Source) -> Iterator[Record]:
    builder = tfds_builder(source.location)
    label, names = _tfds_labels(builder)
    for split in _tfds_splits(builder):
        rows = builder.as_dataset(
            split=split,
            decoders={source.modality: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        for row in rows:
            yield from _from_tfds(row, split, source.modality, label, names)


def _tfds_labels(builder: Any) -> tuple[str, list[str]]:
    """(the feature with the label, the names of the classes)."""
    label = builder.info.supervised_keys[1]
    return label, builder.info.features[label].names


def tfds_builder(location: str) -> Any:
    """The builder of `tfds:NAME`, a name of the catalogue or a prepared dataset's folder.

    Raises:
        Exception: TFDS's own, of many kinds, where there is no such dataset.
    """
    name = location.removeprefix(TFDS)
    return tfds.builder_from_directory(name) if Path(name).is_dir() else tfds.builder(name)


def _tfds_splits(builder: Any) -> dict[str, int]:
    """The splits that are read; beside the usual ones IMDb has one without labels, for example."""
    every = {key: info.num_examples for key, info in builder.info.splits.items()}
    return {key: count for key, count in every.items() if key in SPLIT_NAMES} or every


def _digits(location: str, modality: str, _: bool) -> Source:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 grey pixels, as PNG files."""
    digest = sha256_of_json(["digits", version("scikit-learn")])
    return Source(location, modality, digest, _DIGITS, {"": 1797})


def _digits_iterate(_: Source) -> Iterator[Record]:
    bunch = datasets.load_digits()
    for i, (pixels, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        yield Record(f"digit-{i}", str(label), "", raw=_png(pixels))


def _listed(source: Source) -> Iterator[Record]:
    """Files and rows of tables, which were listed to find out their digest."""
    yield from listed(source).listing or ()


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        matches: whether a location is of this kind.
        find: (location, modality, download) → the source there.
        iterate: see `iterate`.
        records: see `records`; where Beam's workers can each read a part.
    """

    matches: Callable[[str], bool]
    find: Callable[[str, str, bool], Source]
    iterate: Callable[[Source], Iterator[Record]]
    records: Callable[[Source, Any], Any] | None = None


# The first whose `matches` holds.
KINDS = (
    Kind(lambda location: location == "digits", _digits, _digits_iterate),
    Kind(lambda location: location.startswith(TFDS), _tfds, _tfds_iterate, _tfds_records),
    Kind(lambda location: Path(location).is_dir(), _folder, _listed),
    Kind(lambda location: Path(location).is_file(), _table, _listed),
)


def _of_records(location: str, modality: str, records: list[Record]) -> Source:
    digests = sha256_of_each(Path(record.path) for record in records if record.path)
    listing = [[r.name, r.label, r.split] for r in records]
    raws = [r.raw.decode("latin-1") for r in records if r.raw is not None]
    return Source(
        location,
        modality,
        sha256_of_json([listing, digests, raws]),
        tuple(sorted({record.label for record in records})),
        dict(Counter(record.split for record in records)),
        tuple(records),
    )


def _from_tfds(
    row: Any, split: str, modality: str, label: str, names: list[str]
) -> Iterator[Record]:
    """The record, where it has a label: TFDS says -1 for none."""
    number = int(row[label])
    if number >= 0:
        raw: bytes = row[modality].numpy()
        yield Record(split, names[number], SPLIT_NAMES.get(split, ""), raw=raw)


def _png(pixels: Any) -> bytes:
    """(8, 8) of 0 … 16 → PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _with_split(record: Record, split: str) -> Record:
    return Record(record.name, record.label, split, record.path, record.raw)


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _is_split_table(path: Path) -> bool:
    return path.is_file() and path.suffix in READERS and path.stem in SPLIT_NAMES
