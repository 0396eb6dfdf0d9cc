"""Where raw examples come from: each kind of source is a row of `KINDS`.

A source is resolved before the flow: it is listed and its bytes are hashed, so that a changed
file is noticed whatever its size and times say, and passed to `ingest` as a value.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from etils import epy

from components.examples.tables import READERS, SPLIT_NAMES, Record, read
from components.files import sha256_of_each, sha256_of_json
from components.tasks.protocol import Column, Space, Target
from components.tasks.table import TASKS
from models.mistakes import Mistake, nearest

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
        columns: where the answers are, at that place.
        targets: what is asked, and which answers there are.
        splits: how many records are in each split; "" counts those not assigned to any.
        listing: the records, where they are files or rows of tables: who was handed the rest by
            another machine lists them again, and finds the same or an error.
    """

    location: str
    modality: str
    digest: str
    columns: tuple[Column, ...]
    targets: tuple[Target, ...]
    splits: dict[str, int]
    listing: tuple[Record, ...] | None = field(default=None, repr=False, compare=False)


def find_source(
    location: str,
    *,
    modality: str,
    columns: tuple[Column, ...] = (Column(),),
    download: bool = True,
) -> Source:
    """List and hash the examples at `location`; a `Mistake` says what is wrong with it.

    Args:
        columns: where the answers are, in a table or a TFDS dataset.
        download: prepare a TFDS dataset that is not there yet.
    """
    if not location:
        raise Mistake("data.path must name labelled examples, got nothing")
    for kind in KINDS:
        if kind.matches(location):
            return kind.find(location, modality, columns, download)
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
    again = find_source(source.location, modality=source.modality, columns=source.columns)
    if again.digest != source.digest:
        raise Mistake(
            f"data.path must not change while it is read, got {source.location!r}, which is "
            f"not what it was when the run began"
        )
    return again


def _kind(source: Source) -> Kind:
    return next(kind for kind in KINDS if kind.matches(source.location))


def _folder(location: str, modality: str, columns: tuple[Column, ...], _: bool) -> Source:
    """Class folders; or train/, validation/ and test/ of such; or tables named after splits."""
    root = Path(location)
    tables = {p: SPLIT_NAMES[p.stem] for p in sorted(root.iterdir()) if _is_split_table(p)}
    if tables:
        listed = [(table, record) for table in tables for record in read(table, modality, columns)]
        records = [r if r.split else _with_split(r, tables[table]) for table, r in listed]
        return _of_records(location, modality, columns, records)
    _check_is_one_label(location, columns)
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
        Record(path.relative_to(root).as_posix(), (label.name,), split, str(path))
        for label, split in classes
        for path in sorted(label.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    if not records:
        raise Mistake(f"data.path must hold class folders with examples in them, got {location!r}")
    for name in sorted({label.name for label, _ in classes} - {r.answers[0] for r in records}):
        raise Mistake(
            f"data.path must have examples of every class, got {location!r} with an empty folder "
            f"{name!r}"
        )
    return _of_records(location, modality, columns, records)


def _check_is_one_label(location: str, columns: tuple[Column, ...]) -> None:
    """Where nothing but one label is said of each example."""
    if columns == (Column(),):
        return
    asked = columns[0].task if columns[0].task != "one_label" else "columns or a separator"
    raise Mistake(
        f"data.path must be a table, .csv or .jsonl, where more than one label is asked for, got "
        f"{location!r}, which has one for each example, and {asked}"
    )


def _table(location: str, modality: str, columns: tuple[Column, ...], _: bool) -> Source:
    """A CSV or JSON Lines file."""
    records = list(read(Path(location), modality, columns))
    return _of_records(location, modality, columns, records)


def _tfds(location: str, modality: str, columns: tuple[Column, ...], download: bool) -> Source:
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
    if modality not in builder.info.features:
        raise Mistake(f"data.path must have a feature {modality!r} and a label, got {location!r}")
    targets = []
    for column, name in zip(columns, _tfds_answers(builder, location, columns), strict=True):
        try:
            labels = TASKS[column.task].labels_of_tfds(builder.info.features[name])
        except ValueError as error:
            raise Mistake(f"data.path {error}, got {location!r} with {name!r}") from error
        targets.append(Target(name=column.name, task=column.task, space=Space(labels=labels)))
    splits = _tfds_splits(builder)
    files = [Path(f) for split in splits for f in builder.info.splits[split].filepaths]
    listed = [target.model_dump() for target in targets]
    return Source(
        location,
        modality,
        sha256_of_json([location.split("/")[-1], listed, splits, sha256_of_each(files)]),
        columns,
        tuple(targets),
        {SPLIT_NAMES.get(split, ""): count for split, count in splits.items()},
    )


def _tfds_records(source: Source, pipeline: Any) -> Any:
    builder = tfds_builder(source.location)
    parts = []
    for split in _tfds_splits(builder):
        rows = pipeline | f"Read {split}" >> tfds.beam.ReadFromTFDS(
            builder, split=split, decoders={source.modality: tfds.decode.SkipDecoding()}
        )
        given = (split, source.modality, *_tfds_columns(builder, source))
        parts.append(rows | f"Name {split}" >> beam.FlatMap(_from_tfds, *given))
    return parts | beam.Flatten()


def _tfds_iterate(source: Source) -> Iterator[Record]:
    builder = tfds_builder(source.location)
    names, features, tasks = _tfds_columns(builder, source)
    for split in _tfds_splits(builder):
        rows = builder.as_dataset(
            split=split,
            decoders={source.modality: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        for row in rows:
            yield from _from_tfds(row, split, source.modality, names, features, tasks)


def _tfds_columns(builder: Any, source: Source) -> tuple[list[str], list[Any], list[str]]:
    """For each target: the feature with its answers, by name and itself, and its task."""
    names = _tfds_answers(builder, source.location, source.columns)
    features = [builder.info.features[name] for name in names]
    return names, features, [column.task for column in source.columns]


def _tfds_answers(builder: Any, location: str, columns: tuple[Column, ...]) -> list[str]:
    """The name of the feature with the answers to each target."""
    found = []
    for column in columns:
        name, *more = column.columns
        if columns == (Column(task=column.task),) and builder.info.supervised_keys:
            name = builder.info.supervised_keys[1]  # Whatever it is called.
        if more or name not in builder.info.features:
            raise Mistake(
                f"data.path must have a feature {name!r}, got {location!r}: "
                f"{nearest(name, builder.info.features)}"
            )
        found.append(name)
    return found


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


def _digits(location: str, modality: str, columns: tuple[Column, ...], _: bool) -> Source:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 grey pixels, as PNG files."""
    _check_is_one_label(location, columns)
    digest = sha256_of_json(["digits", version("scikit-learn")])
    target = Target(name=columns[0].name, task=columns[0].task, space=Space(labels=_DIGITS))
    return Source(location, modality, digest, columns, (target,), {"": 1797})


def _digits_iterate(_: Source) -> Iterator[Record]:
    bunch = datasets.load_digits()
    for i, (pixels, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        yield Record(f"digit-{i}", (str(label),), "", raw=_png(pixels))


def _listed(source: Source) -> Iterator[Record]:
    """Files and rows of tables, which were listed to find out their digest."""
    yield from listed(source).listing or ()


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        matches: whether a location is of this kind.
        find: (location, modality, columns, download) → the source there.
        iterate: see `iterate`.
        records: see `records`; where Beam's workers can each read a part.
    """

    matches: Callable[[str], bool]
    find: Callable[[str, str, tuple[Column, ...], bool], Source]
    iterate: Callable[[Source], Iterator[Record]]
    records: Callable[[Source, Any], Any] | None = None


# The first whose `matches` holds.
KINDS = (
    Kind(lambda location: location == "digits", _digits, _digits_iterate),
    Kind(lambda location: location.startswith(TFDS), _tfds, _tfds_iterate, _tfds_records),
    Kind(lambda location: Path(location).is_dir(), _folder, _listed),
    Kind(lambda location: Path(location).is_file(), _table, _listed),
)


def _of_records(
    location: str, modality: str, columns: tuple[Column, ...], records: list[Record]
) -> Source:
    if all(record.problem for record in records):
        raise Mistake(
            f"data.path must have answers, got {location!r}, where no row has any: "
            f"{records[0].problem}"
        )
    digests = sha256_of_each(Path(record.path) for record in records if record.path)
    targets = []
    for number, column in enumerate(columns):
        answers = [record.answers[number] for record in records]
        task = TASKS[column.task]
        named = ", ".join(map(repr, column.columns))
        task.check_column(answers, f"{location!r}, whose column {named} is")
        space = task.space(answers, Space())
        targets.append(Target(name=column.name, task=column.task, space=space))
    listing = [[r.name, r.answers, r.split, r.problem] for r in records]
    raws = [r.raw.decode("latin-1") for r in records if r.raw is not None]
    return Source(
        location,
        modality,
        sha256_of_json([listing, digests, raws, [target.model_dump() for target in targets]]),
        columns,
        tuple(targets),
        dict(Counter(record.split for record in records)),
        tuple(records),
    )


def _from_tfds(
    row: Any, split: str, modality: str, names: list[str], features: list[Any], tasks: list[str]
) -> Iterator[Record]:
    """The record, where it has any answer."""
    answers = tuple(
        TASKS[task].of_tfds(feature, row[name].numpy())
        for name, feature, task in zip(names, features, tasks, strict=True)
    )
    if any(answer is not None for answer in answers):
        raw: bytes = row[modality].numpy()
        yield Record(split, answers, SPLIT_NAMES.get(split, ""), raw=raw)


def _png(pixels: Any) -> bytes:
    """(8, 8) of 0 … 16 → PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _with_split(record: Record, split: str) -> Record:
    return replace(record, split=split)


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _is_split_table(path: Path) -> bool:
    return path.is_file() and path.suffix in READERS and path.stem in SPLIT_NAMES
