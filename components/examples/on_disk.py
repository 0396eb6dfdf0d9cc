"""Folders of class folders or of tables, and tables, as sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from components.examples.source import Source, Wish, check_is_one_label
from components.examples.tables import READERS, SPLIT_NAMES, Record, read
from components.files import sha256_of_json, sha256_of_rows
from components.modalities.table import MODALITIES
from components.tasks.protocol import Space, Target
from components.tasks.table import TASKS
from models.mistakes import Mistake

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
        loose = sum(path.is_file() for path in root.iterdir())
        raise Mistake(
            f"data.path must hold class folders with examples in them, got {location!r}"
            + (f" with {loose} files in no class folder: {location}/CLASS/FILE" if loose else "")
        )
    _check_modality(wish, records)
    for name in sorted({label.name for label, _ in classes} - {r.answers[0] for r in records}):
        raise Mistake(
            f"data.path must have examples of every class, got {location!r} with an empty folder "
            f"{name!r}"
        )
    return _of_records(wish, records)


def find_table(wish: Wish) -> Source:
    """A CSV, TSV or JSON Lines file."""
    return _of_records(wish, list(_read(Path(wish.location), wish)))


def _read(table: Path, wish: Wish) -> Iterator[Record]:
    return read(table, wish.modality, wish.columns, wish.headings)


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


def _of_records(wish: Wish, records: list[Record]) -> Source:
    location, columns = wish.location, wish.columns
    if all(record.problem for record in records):
        raise Mistake(
            f"data.path must have answers, got {location!r}, where no row has any: "
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
        tuple(records),
    )


def _with_split(record: Record, split: str) -> Record:
    return replace(record, split=split)


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _is_split_table(path: Path) -> bool:
    return path.is_file() and path.suffix in READERS and path.stem in SPLIT_NAMES
