"""Datasets of TFDS as sources: of its catalogue, or prepared ones by their folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epy

from components.examples.source import Source, Wish, check_is_no_table
from components.examples.tables import SPLIT_NAMES, Record
from components.files import sha256_of_json
from components.modalities.table import MODALITIES
from components.tasks.protocol import Column, Space, Target
from components.tasks.table import TASKS
from models.mistakes import Mistake, nearest

with epy.lazy_imports():
    import apache_beam as beam
    import tensorflow_datasets as tfds

TFDS = "tfds:"


def find(wish: Wish) -> Source:
    """A dataset of the TFDS catalogue by name, or a prepared one by its folder."""
    check_is_no_table(wish)
    location, modality, columns = wish.location, wish.modality, wish.columns
    try:
        builder = open_builder(location)
        if wish.download:
            builder.download_and_prepare()
        elif not builder.is_prepared():
            raise OSError("it is not prepared yet; a run does that")
    except Exception as error:  # TFDS's own errors, and those of the network.
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(f"data.path must name a TFDS dataset, got {location!r}: {reason}") from error
    if feature_of(builder, modality) not in builder.info.features:
        name = MODALITIES[modality].raw.in_tfds
        raise Mistake(f"data.path must have a feature {name!r} and a label, got {location!r}")
    targets = []
    for column, name in zip(columns, _features(builder, location, columns), strict=True):
        try:
            labels = TASKS[column.task].labels_of_tfds(builder.info.features[name])
        except ValueError as error:
            raise Mistake(f"data.path {error}, got {location!r} with {name!r}") from error
        targets.append(Target(name=column.name, task=column.task, space=Space(labels=labels)))
    splits = _splits(builder)
    files = [Path(f) for split in splits for f in builder.info.splits[split].filepaths]
    listed = [column.model_dump() for column in columns]
    listed += [target.model_dump() for target in targets]
    return Source(
        location,
        modality,
        sha256_of_json([location.split("/")[-1], listed, splits, wish.hashes.of(location, files)]),
        columns,
        tuple(targets),
        {SPLIT_NAMES.get(split, ""): count for split, count in splits.items()},
    )


def records(source: Source, pipeline: Any) -> Any:
    builder = open_builder(source.location)
    name, parts = feature_of(builder, source.modality), []
    for split in _splits(builder):
        rows = pipeline | f"Read {split}" >> tfds.beam.ReadFromTFDS(
            builder, split=split, decoders={name: tfds.decode.SkipDecoding()}
        )
        feature = builder.info.features[name]
        given = (split, source.modality, name, feature, *_columns(builder, source))
        parts.append(rows | f"Name {split}" >> beam.FlatMap(_from_tfds, *given))
    return parts | beam.Flatten()


def iterate(source: Source) -> Iterator[Record]:
    builder = open_builder(source.location)
    name = feature_of(builder, source.modality)
    given = (source.modality, name, builder.info.features[name], *_columns(builder, source))
    for split in _splits(builder):
        rows = builder.as_dataset(
            split=split,
            decoders={name: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        for row in rows:
            yield from _from_tfds(row, split, *given)


def feature_of(builder: Any, modality: str) -> str:
    """What the dataset calls the feature with the example: ours have the modality's name."""
    own = modality in builder.info.features
    return modality if own else MODALITIES[modality].raw.in_tfds


def _columns(builder: Any, source: Source) -> tuple[list[str], list[Any], list[str]]:
    """For each target: the feature with its answers, by name and itself, and its task."""
    names = _features(builder, source.location, source.columns)
    features = [builder.info.features[name] for name in names]
    return names, features, [column.task for column in source.columns]


def _features(builder: Any, location: str, columns: tuple[Column, ...]) -> list[str]:
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


def open_builder(location: str) -> Any:
    """The builder of `tfds:NAME`, a name of the catalogue or a prepared dataset's folder.

    Raises:
        Exception: TFDS's own, of many kinds, where there is no such dataset.
    """
    name = location.removeprefix(TFDS)
    return tfds.builder_from_directory(name) if Path(name).is_dir() else tfds.builder(name)


def _splits(builder: Any) -> dict[str, int]:
    """The splits that are read; beside the usual ones IMDb has one without labels, for example."""
    every = {key: info.num_examples for key, info in builder.info.splits.items()}
    return {key: count for key, count in every.items() if key in SPLIT_NAMES} or every


def _from_tfds(
    row: Any,
    split: str,
    modality: str,
    name: str,
    feature: Any,
    names: list[str],
    features: list[Any],
    tasks: list[str],
) -> Iterator[Record]:
    """The record, where it has any answer."""
    answers = tuple(
        TASKS[task].of_tfds(of_answer, row[answer].numpy())
        for answer, of_answer, task in zip(names, features, tasks, strict=True)
    )
    if any(answer is not None for answer in answers):
        place = (split, answers, SPLIT_NAMES.get(split, ""))
        try:
            raw = MODALITIES[modality].raw.of_tfds(feature, row[name].numpy())
            yield Record(*place, raw=raw)
        except ValueError as error:
            yield Record(*place, problem=str(error))
