"""ingest (TFX: ExampleGen): raw examples → a TFDS dataset, here or by a runner of Apache Beam."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from etils import epy
from pydantic import Field, field_validator

from components.artifacts import Examples
from components.disk import require_room
from components.examples import placing, sources
from components.examples.patching import Patch
from components.examples.placing import INDEX, Row, Wanted
from components.examples.reasons import code_of
from components.examples.source import Source
from components.examples.tables import SPLITS, Headings, Record
from components.files import MOST_BYTES, content_id, write_jsonl
from components.job import Job, stage
from components.section import Columns, Place, Places, Section, UnhashedBool, UnhashedStr
from components.tasks.protocol import Target
from components.tasks.table import task_of
from models.mistakes import Mistake, nearest

with epy.lazy_imports():
    import tensorflow_datasets as tfds

    from components.examples import dataset
    from components.on_beam import ingest as ingest_on_beam

# So many examples are checked at once, and held in memory.
_CHUNK = 256
# What is kept of what is not used.
_SET_ASIDE: tuple[str, ...] = ("id", "name", "answers", "reason")


class DataConfig(Section):
    """The labelled examples."""

    path: Place = ""
    """Folder of class folders, folder of splits, CSV, TSV or JSONL file, `tfds:NAME`, or
    `digits`."""
    root: Place = ""
    """Files of examples must be in this folder, wherever links and the rows of tables lead: the
    folder itself, or that of the table, where not given; / for anywhere."""
    modality: Literal["image", "text", "sound"] = "image"
    """What kind of input the examples are."""
    classes: tuple[str, ...] = ()
    """Use only these classes; all where empty."""
    columns: Columns = ()
    """Tables: the column with the answers, `label` where not given; for several labels also one
    column of 0 and 1 for each."""
    separator: str = ""
    """Tables: what stands between several labels in one cell, such as | or ;."""
    input_column: UnhashedStr = ""
    """Tables: the column with the example, `path` or `text` where not given."""
    split_column: UnhashedStr = "split"
    """Tables: the column with the split."""
    slices: Columns = ()
    """Tables: columns to tell parts of the test examples apart by, such as camera or site; each
    part is judged by itself: quarters of numbers, and each of up to 20 other values."""
    group: UnhashedStr = ""
    """Tables: a column with what examples belong to, such as a speaker, a patient or a recording:
    those of one are all trained on or all tested on. Fractions are then shares of the groups."""
    fold: UnhashedStr = ""
    """Tables: test on the rows that have this in their column `fold`, and train on the others: once
    for each of its values, that is cross-validation."""
    fold_column: UnhashedStr = "fold"
    """Tables: the column with the fold."""
    convert: bool = False
    """Take in pictures that are neither JPEG nor PNG (WebP, TIFF, BMP …), re-encoded as PNG, large
    ones as JPEG of quality 100; and sounds that are no WAV (FLAC, Ogg, MP3 …), as WAV of 16 bits.
    Who asks the model must convert likewise."""
    labels_per_class: int | None = Field(None, ge=2)
    """Use at most this many examples a class to train and to validate with, together."""
    validation_fraction: float = Field(0.15, gt=0, lt=0.5)
    """Share of the rest to validate with, where the data has no such split."""
    test_fraction: float = Field(0.15, gt=0, lt=0.5)
    """Share of all examples to test with, where the data has no such split."""
    patch: Places = ()
    """CSV files of corrections, such as a run's suspects.csv once a person has looked at it: each
    id whose action is `drop` is left out, and each whose action is `relabel` gets the answer that
    is in `suggested`; the last file that names it counts."""
    read_all: UnhashedBool = False
    """Read every file to see whether it changed, also where its size, its times and its inode are
    what they were when it was read last."""
    allow_new_labels: UnhashedBool = False
    """Accept a label set that differs from the last blessed model's."""

    @property
    def headings(self) -> Headings:
        """What a table calls the columns that are no answers."""
        return Headings(
            input=self.input_column,
            split=self.split_column,
            slices=self.slices,
            group=self.group,
            fold=self.fold_column,
            tested=self.fold,
        )

    @field_validator("fold", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """A fold is often a number, which a recipe has as one."""
        return str(value) if isinstance(value, int) else value


@stage(version=7)
def ingest(job: Job, source: Source, config: DataConfig, patch: Patch | None = None) -> Examples:
    """Read, check, split and write the examples of `source`.

    An example's id is the sha256 of its content. Splits that the data does not have are carved
    out of the training examples, in proportion, in the order of what the modality says makes
    two examples the same (exact content; of text, the words): duplicates land on one side, and
    more data tomorrow moves next to nobody from one side to the other. What cannot be used is
    quarantined with the reason, and never stops the run. What the last ingest of the same place
    has made an example of is not decoded again.
    """
    job.doing("listing the examples")
    source = sources.listed(source)
    shares = {"test": config.test_fraction, "validation": config.validation_fraction}
    wanted = Wanted(
        source=source,
        targets=chosen_targets(source, config),
        missing={split: share for split, share in shares.items() if not source.splits.get(split)},
        labels_per_class=config.labels_per_class,
        convert=config.convert,
        known=_known(job, source, config),
        patch=patch,
    )
    tfds.disable_progress_bar()
    rows = ingest_on_beam.write(job, wanted) if job.beam.runner else _write(job, wanted)
    index = _sorted([row for row in rows if "reason" not in row], "id", "name", "key")
    aside = [row | {"code": code_of(row["reason"])} for row in rows if "reason" in row]
    quarantine = _sorted(aside, "name", "reason")
    _check_patch(patch, rows)
    counts = Counter(row["split"] for row in index)
    if not all(counts[split] for split in SPLITS):
        reasons = [f"{row['name']} {row['reason']}" for row in quarantine]
        raise Mistake(
            f"data.path must give at least one usable example for each of {', '.join(SPLITS)}, "
            f"got {source.location!r}; {len(reasons)} quarantined"
            + (f", the first: {reasons[0]}" if reasons else "")
            + _rare(index, wanted.targets)
        )
    write_jsonl(job.directory / INDEX, index)
    write_jsonl(job.directory / "quarantine.jsonl", quarantine)
    return Examples(
        directory=job.directory,
        modality=source.modality,
        targets=tuple(_settled(t, number, index) for number, t in enumerate(wanted.targets)),
        counts={split: counts[split] for split in SPLITS},
        slices=source.headings.slices,
        stats={
            **{split: counts[split] for split in SPLITS},
            **_accounted(source, len(index), len(quarantine)),
            "quarantine": quarantine[:20],
            "set_aside": _set_aside(quarantine),
            "location": source.location,
            "convert": config.convert,
        },
    )


def _accounted(source: Source, used: int, quarantined: int) -> dict[str, Any]:
    """What became of everything that is there: found = used + quarantined + ignored.

    Ignored are files that are no examples, and examples that were not asked for, such as those of
    other classes, or more than so many of a class.
    """
    examples = sum(source.splits.values())
    return {
        "found": examples + len(source.ignored),
        "used": used,
        "quarantined": quarantined,
        "ignored": len(source.ignored) + examples - used - quarantined,
        "ignored_files": list(source.ignored[:20]),
    }


def _check_patch(patch: Patch | None, rows: list[Row]) -> None:
    if patch and (missing := patch.missing({row["id"] for row in rows if "id" in row})):
        raise Mistake(
            f"data.patch must name examples that there are, got {len(missing)} that are not, such "
            f"as {missing[0]!r}"
        )


def chosen_targets(source: Source, config: DataConfig) -> tuple[Target, ...]:
    """What is asked of `source`, with the classes that are used; a `Mistake` if one is missing."""
    if not config.classes:
        for target in source.targets:
            _check_two(target, target.space.labels)
        return source.targets
    target, *others = source.targets
    labels = target.space.labels
    if others or not labels or task_of(target).many:
        raise Mistake("data.classes must be left out where more than one label is asked for")
    for label in config.classes:
        if label not in labels:
            raise Mistake(
                f"data.classes must be classes of {source.location!r}, got {label!r}: "
                f"{nearest(label, labels)}"
            )
    _check_two(target, config.classes)
    space = target.space.model_copy(update={"labels": tuple(sorted(set(config.classes)))})
    return (target.model_copy(update={"space": space}),)


def _set_aside(quarantine: list[Row]) -> list[dict[str, Any]]:
    """How many could not be used for the same reason, the most frequent ones first."""
    counts = Counter(row["reason"] for row in quarantine)
    named = {row["reason"]: row["name"] for row in reversed(quarantine)}
    return [
        {"reason": reason, "count": count, "name": named[reason]}
        for reason, count in counts.most_common(3)
    ]


def _check_two(target: Target, labels: tuple[str, ...]) -> None:
    if len(labels) == 1 and not task_of(target).many:
        raise Mistake(f"data.path must have at least two classes, got {labels[0]!r} alone")


def _rare(index: list[Row], targets: tuple[Target, ...]) -> str:
    """What else may leave a split empty: answers that are too rare to be tested."""
    for number, target in enumerate(targets):
        if target.space.labels:
            task = task_of(target)
            counts = Counter(key for row in index for key in task.keys(row["answers"][number]))
            rare = [key for key, count in counts.items() if key and count < 3]
            if rare:
                return (
                    f"; {len(rare)} labels have fewer than 3 examples, which are all trained on, "
                    f"such as {rare[0]!r}"
                )
    return ""


def _settled(target: Target, number: int, index: list[Row]) -> Target:
    """The target with the space of its training answers."""
    answers = [row["answers"][number] for row in index if row["split"] == "train"]
    space = task_of(target).space(answers, target.space)
    return target.model_copy(update={"space": space})


def _known(job: Job, source: Source, config: DataConfig) -> Path | None:
    """What was ingested last from where `source` is, with the same formats taken in."""
    for made in job.earlier():
        if made.stats.get("convert", False) != config.convert:
            continue
        if made.stats.get("location") == source.location and isinstance(made, Examples):
            return made.directory if made.modality == source.modality else None
    return None


def _sorted(rows: list[Row], *columns: str) -> list[Row]:
    return sorted(rows, key=lambda row: [row[column] for column in columns])


def _write(job: Job, wanted: Wanted) -> list[Row]:
    """Like `ingest_on_beam.write`, in this process.

    The source is gone through once to check what is in it, and once for each split.
    """
    placed = list(_placed(list(_checked(job, wanted)), wanted))
    at = {row["number"]: row for row in placed if "reason" not in row}
    rows = [
        {name: row[name] for name in _SET_ASIDE if name in row}
        if "reason" in row
        else placing.without_raw(row)
        for row in placed
    ]
    if {row["split"] for row in at.values()} != {*SPLITS}:
        return rows  # There is nothing to write.

    sizes = Counter(row["split"] for row in at.values())

    def examples(split: str) -> Callable[[], Iterator[Any]]:
        return lambda: job.track(_examples(wanted, at, split), sizes[split], f"{split} written")

    sizes_of = (_size(record) for record in wanted.source.listing or ())
    require_room(job.directory, sum(sizes_of), "the examples")
    builder = dataset.Builder(
        splits={split: examples(split) for split in SPLITS},
        modality=wanted.source.modality,
        targets=wanted.targets,
        data_dir=job.directory,
    )
    builder.write()
    return rows


def _size(record: Record) -> int:
    """Of its raw form, in bytes; 0 where it is known to be unusable."""
    if record.problem or record.raw is not None:
        return len(record.raw or b"")
    try:
        size = Path(record.path).stat().st_size
    except OSError:
        return 0
    return size if size <= MOST_BYTES else 0


def _checked(job: Job, wanted: Wanted) -> Iterator[Row]:
    """A row for each record that is to be used, with its number in the source."""
    records = (
        (number, record)
        for number, record in enumerate(sources.iterate(wanted.source))
        if placing.accepts(record, wanted.targets)
    )
    known, total = placing.known_facts(wanted.known), sum(wanted.source.splits.values())

    def check(numbered: tuple[int, Record]) -> Row:
        number, record = numbered
        row = placing.check(record, wanted, known)
        row.pop("raw", None)  # It is read again when it is written: all together may be too much.
        return row | {"number": number}

    with ThreadPoolExecutor() as pool:
        while chunk := list(itertools.islice(records, _CHUNK)):
            yield from pool.map(check, chunk)
            job.progress("examples checked", chunk[-1][0] + 1, total)


def _placed(rows: list[Row], wanted: Wanted) -> Iterator[Row]:
    """Each row in its split, those that cannot be used among them."""
    members: list[placing.Member] = []
    same, places = defaultdict(list), defaultdict(list)
    for row in rows:
        if "reason" in row:
            yield row
        else:
            members.append(placing.member(row))
            same[row["same"]].append(row)
    for key, to in placing.assign(members, wanted):
        places[key].append(to)
    for key, group in same.items():
        yield from placing.place(group, places[key], wanted)


def _examples(wanted: Wanted, at: dict[Any, Row], split: str) -> Iterator[Any]:
    """(key, example) of each row of a split.

    Args:
        at: a record's number in the source → its row.
    """
    for number, record in enumerate(sources.iterate(wanted.source)):
        row = at.get(number)
        if row is None or row["split"] != split:
            continue
        try:
            raw = record.read()
        except OSError:
            raw = b""
        if content_id(raw) != row["id"]:
            raise Mistake(f"data.path must not change while it is read, got another {record.name}")
        stored = {**row, "raw": placing.usable(raw, wanted)}
        yield placing.as_example(stored, wanted.source.modality, wanted.targets)
