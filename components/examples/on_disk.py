"""Folders of class folders or of tables, and tables, as sources."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from components.examples.source import Source, Wish, check_is_one_label
from components.examples.tables import READERS, SPLIT_NAMES, Record, read
from components.examples.walking import is_hidden, kind_of, walk
from components.files import sha256_of_json, sha256_of_rows
from components.modalities.table import MODALITIES
from components.tasks.protocol import Space, Target
from components.tasks.table import TASKS
from models.mistakes import Mistake, printable

# One to validate with, one to test with, and two to train with.
_FEWEST = 4


def find_folder(wish: Wish) -> Source:
    """Class folders; or train/, validation/ and test/ of such; or tables named after splits."""
    location = wish.location
    root = Path(location)
    tables = {p: SPLIT_NAMES[p.stem] for p in sorted(root.iterdir()) if _is_split_table(p)}
    if tables:
        listed = [(table, record) for table in tables for record in _read(table, wish)]
        records = [r if r.split else _with_split(r, tables[table]) for table, r in listed]
        return _of_records(wish, records)
    check_is_one_label(wish)
    bound = wish.bound(root)
    splits = _split_folders(root, bound, location)
    depth = 2 if splits else 1
    records, ignored = list[Record](), list[str]()
    for found in walk(root, bound):
        name = os.path.relpath(found.path, root)
        parts = name.split(os.sep)
        if found.hidden or len(parts) <= depth:
            ignored.append(printable(f"{name} {found.problem}".rstrip()))
            continue
        split = splits[parts[0]] if splits else ""
        label, name = printable(parts[depth - 1]), printable(name)
        records.append(Record(name, (label,), split, found.path, problem=found.problem))
    if not records:
        raise Mistake(_no_examples(location, ignored))
    _check_modality(wish, records)
    containers = [root / name for name in splits] or [root]
    classes = {printable(each.name) for held in containers for each in _folders(held, bound)}
    for name in sorted(classes - {record.answers[0] for record in records}):
        raise Mistake(
            f"data.path must have examples of every class, got {location!r} with an empty folder "
            f"{name!r}"
        )
    return _of_records(wish, records, ignored)


def _folders(root: Path, bound: Path) -> list[Path]:
    """The folders of splits or classes in a folder."""
    there = (path for path in sorted(root.iterdir()) if not is_hidden(path.name))
    return [path for path in there if kind_of(str(path), bound)[0] == "folder"]


def _split_folders(root: Path, bound: Path, location: str) -> dict[str, str]:
    """The name of each folder of a split → the split; none where the folders are classes."""
    names = [path.name for path in _folders(root, bound)]
    if not {"train", "test"} & {*names}:
        return {}
    if unknown := [name for name in names if name not in SPLIT_NAMES]:
        raise Mistake(
            f"data.path must hold either splits or classes, got {location!r} with both train/ or "
            f"test/ and {unknown[0]}/"
        )
    return {name: SPLIT_NAMES[name] for name in names}


def _no_examples(location: str, ignored: list[str]) -> str:
    loose = [name for name in ignored if "/" not in name and not is_hidden(name)]
    said = f"data.path must hold class folders with examples in them, got {location!r}"
    if loose:
        said += f" with {len(loose)} files in no class folder: {location}/CLASS/FILE"
    return said


def find_table(wish: Wish) -> Source:
    """A CSV, TSV or JSON Lines file."""
    return _of_records(wish, list(_read(Path(wish.location), wish)))


def _read(table: Path, wish: Wish) -> Iterator[Record]:
    bound = wish.bound(table.parent)
    return read(table, wish.modality, wish.columns, wish.headings, bound)


def _check_modality(wish: Wish, records: list[Record]) -> None:
    """A `Mistake` where most of the files are, by their names, of another modality."""
    endings = Counter(Path(record.path).suffix.lower() for record in records)
    of_each = {
        name: sum(endings[suffix] for suffix in row.raw.suffixes)
        for name, row in MODALITIES.items()
    }
    likely = max(of_each, key=lambda name: of_each[name])
    if of_each[likely] > 0.9 * len(records) and not of_each[wish.modality]:
        wanted, found = (MODALITIES[name].raw.plural for name in (wish.modality, likely))
        raise Mistake(
            f"data.path must hold {wanted}, got {wish.location!r} with {of_each[likely]} {found}, "
            f"which recipes of --data.modality {likely} read"
        )


def _check_enough(wish: Wish, records: list[Record], targets: list[Target]) -> None:
    """A `Mistake` where no class can be trained, validated and tested."""
    if any(record.split for record in records):
        return
    groups = {record.group for record in records if record.group}
    if wish.headings.group and len(groups) < _FEWEST - 1:
        raise Mistake(
            f"data.group must name at least {_FEWEST - 1} groups, to train, validate and test "
            f"with, got {len(groups)} in {wish.headings.group!r} of {wish.location!r}"
        )
    target, *others = targets
    is_plain = bool(target.space.labels) and not TASKS[target.task].many and not others
    usable = [record for record in records if not record.problem]
    counts = Counter(str(r.answers[0]) if is_plain else "examples" for r in usable)
    if max(counts.values()) < _FEWEST:
        found = ", ".join(f"{name} {count}" for name, count in counts.most_common(3))
        raise Mistake(
            f"data.path must have at least {_FEWEST} examples of a class, to train, validate and "
            f"test with, got {wish.location!r} with {len(records)}: {found}"
        )


def _of_records(wish: Wish, records: list[Record], ignored: Sequence[str] = ()) -> Source:
    location, columns = wish.location, wish.columns
    if all(record.problem for record in records):
        raise Mistake(
            f"data.path must have examples that can be used, got {location!r} with none: the first "
            f"{records[0].problem}"
        )
    paths = [Path(record.path) for record in records if record.path]
    digests = wish.hashes.of(location, paths)
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
    _check_enough(wish, records, targets)
    listing = sha256_of_rows(
        [r.name, r.answers, r.split, r.problem, r.raw and r.raw.decode("latin-1"), *r.cells]
        + ([r.group] if r.group else [])
        for r in records
    )
    return Source(
        location,
        wish.modality,
        sha256_of_json([listing, digests, [target.model_dump() for target in targets]]),
        columns,
        tuple(targets),
        dict(Counter(record.split for record in records)),
        wish.headings,
        wish.root,
        tuple(ignored),
        tuple(records),
    )


def _with_split(record: Record, split: str) -> Record:
    return replace(record, split=split)


def _is_split_table(path: Path) -> bool:
    return path.is_file() and path.suffix in READERS and path.stem in SPLIT_NAMES
