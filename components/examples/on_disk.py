"""Folders of class folders or of tables, and tables, as sources."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from components.examples.source import Source, check_is_one_label
from components.examples.tables import READERS, SPLIT_NAMES, Record, read
from components.files import sha256_of_each, sha256_of_json
from components.tasks.protocol import Column, Space, Target
from components.tasks.table import TASKS
from models.mistakes import Mistake


def find_folder(location: str, modality: str, columns: tuple[Column, ...], _: bool) -> Source:
    """Class folders; or train/, validation/ and test/ of such; or tables named after splits."""
    root = Path(location)
    tables = {p: SPLIT_NAMES[p.stem] for p in sorted(root.iterdir()) if _is_split_table(p)}
    if tables:
        listed = [(table, record) for table in tables for record in read(table, modality, columns)]
        records = [r if r.split else _with_split(r, tables[table]) for table, r in listed]
        return _of_records(location, modality, columns, records)
    check_is_one_label(location, columns)
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


def find_table(location: str, modality: str, columns: tuple[Column, ...], _: bool) -> Source:
    """A CSV or JSON Lines file."""
    records = list(read(Path(location), modality, columns))
    return _of_records(location, modality, columns, records)


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
        # A column for each label names them all, those that no row has, too.
        known = Space(labels=tuple(sorted(column.columns)) if len(column.columns) > 1 else ())
        space = task.space(answers, known)
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


def _with_split(record: Record, split: str) -> Record:
    return replace(record, split=split)


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _is_split_table(path: Path) -> bool:
    return path.is_file() and path.suffix in READERS and path.stem in SPLIT_NAMES
