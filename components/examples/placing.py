"""Raw records → checked rows, each in its split. The same in this process and by Beam."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.examples.sources import Source
from components.examples.tables import SPLITS, Record
from components.files import content_id, read_jsonl
from components.modalities.table import MODALITIES

INDEX = "index.jsonl"
# What is known of an example; a row with a reason is of one that cannot be used.
Row = dict[str, Any]
COLUMNS = ("id", "same", "key", "name", "label", "split", "facts")


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a source.

    Attributes:
        labels: the classes that are used.
        missing: each split that the source does not have → its share of what the source has.
        labels_per_class: at most so many examples to train and to validate with.
        known: an earlier artifact of ingest, whose examples are known to be usable.
    """

    source: Source
    labels: tuple[str, ...]
    missing: dict[str, float]
    labels_per_class: int | None
    known: Path | None


def known_facts(artifact: Path | None) -> dict[str, Any]:
    """The id of each example that is known to be usable → its facts."""
    if artifact is None:
        return {}
    try:
        return {row["id"]: row["facts"] for row in read_jsonl(artifact / INDEX)}
    except (OSError, ValueError, KeyError):  # It is removed meanwhile.
        return {}


def check(record: Record, wanted: Wanted, known: dict[str, Any]) -> Row:
    """The row of a usable record, with its raw form; or one with the reason why it is not.

    Args:
        known: by `known_facts`.
    """
    modality = MODALITIES[wanted.source.modality]
    try:
        raw = record.read()
        identity = content_id(raw)
        facts = known[identity] if identity in known else modality.check(raw)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        return _unusable(record.name, record.label, reason)
    return {
        "id": identity,
        "same": content_id(modality.sameness(raw)),
        "name": record.name,
        "label": record.label,
        "split": record.split,
        "facts": facts,
        "raw": raw,
    }


def assign(
    group: tuple[str, Iterable[tuple[str, str]]],
    wanted: Wanted,
) -> Iterator[tuple[str, tuple[str, str]]]:
    """One class: (sameness, given split) of its examples → (it, (given split, assigned split))."""
    _, members = group
    missing, labels_per_class = wanted.missing, wanted.labels_per_class
    unique = sorted(set(members))
    pool = sorted({same for same, split in unique if split in ("", "train")})
    test = _share(len(pool), missing["test"]) if "test" in missing else 0
    labelled = len(pool) - test
    used = labelled if labels_per_class is None else min(labelled, labels_per_class)
    validation = _share(used, missing["validation"]) if "validation" in missing else 0
    assigned = ["test"] * test + ["validation"] * validation + ["train"] * (used - validation)
    assigned += ["unused"] * (labelled - used)
    carved = dict(zip(pool, assigned, strict=True))
    for same, split in unique:
        yield same, (split, carved[same] if split in ("", "train") else split)


def _share(size: int, fraction: float) -> int:
    """At least one where there are three or more, so that no class is without a test."""
    return max(round(size * fraction), min(1, size // 3))


def place(rows: Iterable[Row], places: Iterable[tuple[str, str]], wanted: Wanted) -> Iterator[Row]:
    """Rows that are the same, each in its split; those of one given split always together.

    Where the modality says that the same recurs, what is not in the last of the splits (test,
    before it validation) that the same is in cannot be used.

    Args:
        places: (given split, assigned split), by `assign`.
    """
    recurs = MODALITIES[wanted.source.modality].recurs
    splits: dict[str, str] = {}
    for given, assigned in sorted(places):
        # Content with two labels is assigned once for each; all its rows follow one of them.
        splits.setdefault(given, assigned)
    used = {split for split in splits.values() if split != "unused"}
    last = max(used, key=SPLITS.index, default="")
    ordered = sorted(rows, key=lambda row: (row["split"], row["name"], row["id"], row["label"]))
    for occurrence, row in enumerate(ordered):
        split = splits[row["split"]]
        if recurs and split in used and split != last:
            reason = f"is in {split}, and says the same as an example in {last}"
            yield _unusable(row["name"], row["label"], reason)
        elif split in used:
            yield {**row, "split": split, "key": f"{row['id']}-{occurrence}"}


def without_raw(row: Row) -> Row:
    return {name: row[name] for name in COLUMNS}


def as_example(row: Row, modality: str) -> tuple[str, dict[str, Any]]:
    """A row with its raw form → its key and its example in the dataset."""
    example = {"id": row["id"], "name": row["name"], modality: row["raw"], "label": row["label"]}
    return row["key"], example


def _unusable(name: str, label: str, reason: str) -> Row:
    return {"name": name, "label": label, "reason": reason}
