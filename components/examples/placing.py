"""Raw records → checked rows, each in its split. The same in this process and by Beam."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.examples.patching import Patch, patched
from components.examples.source import Source
from components.examples.tables import SPLITS, Record
from components.files import content_id, read_jsonl
from components.modalities.table import MODALITIES
from components.tasks.protocol import Answer, Target
from components.tasks.table import task_of

INDEX = "index.jsonl"
# What the one target without a name is called in a dataset.
LABEL = "label"
# What is known of an example; a row with a reason is of one that cannot be used.
Row = dict[str, Any]
COLUMNS = ("id", "same", "key", "name", "answers", "split", "facts", "cells", "group")


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a source.

    Attributes:
        targets: what is asked; of labels, those that are used.
        missing: each split that the source does not have → its share of what the source has.
        labels_per_class: at most so many examples to train and to validate with.
        convert: take in what can only be decoded, in a form that can be served.
        known: an earlier artifact of ingest, whose examples are known to be usable.
        patch: corrections by hand.
    """

    source: Source
    targets: tuple[Target, ...]
    missing: dict[str, float]
    labels_per_class: int | None
    convert: bool
    known: Path | None
    patch: Patch | None = None


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
    kind = MODALITIES[wanted.source.modality].raw
    try:
        raw = record.read()
        identity, stored = content_id(raw), usable(raw, wanted)
        facts = known[identity] if identity in known else kind.check(stored)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        return _unusable(record.name, list(record.answers), reason)
    row = {
        "id": identity,
        "same": content_id(kind.canonical(raw)),
        "name": record.name,
        "answers": list(record.answers),
        "split": record.split,
        "facts": facts,
        "raw": stored,
    }
    if record.cells:
        row["cells"] = list(record.cells)
    if record.group:
        row["group"] = record.group
    return patched(row, wanted.patch)


def usable(raw: bytes, wanted: Wanted) -> bytes:
    """What is stored of a raw example, whose id is that of its own bytes."""
    if not wanted.convert:
        return raw
    return MODALITIES[wanted.source.modality].raw.converted(raw)


def accepts(record: Record, targets: tuple[Target, ...]) -> bool:
    """Whether the record is one of those that are to be used."""
    pairs = zip(targets, record.answers, strict=True)
    return all(task_of(target).accepts(answer, target.space) for target, answer in pairs)


# What is the same of examples, the split that they are given, their answers, and their group.
Member = tuple[str, str, list[Answer], str]


def member(row: Row) -> Member:
    """What decides about the split of a row."""
    return row["same"], row["split"], row["answers"], row.get("group", "")


def assign(members: Iterable[Member], wanted: Wanted) -> Iterator[tuple[str, tuple[str, str]]]:
    """→ (what is the same, (given split, assigned split)); proportions of answers are kept.

    Those without a split are dealt in the order of what is the same, a hash: more examples
    tomorrow move next to nobody from one split to the other. Of groups, which stay together, each
    is dealt as one, in the order of a hash of its name.
    """
    told = {json.dumps(member): member for member in members}
    unique = [told[key] for key in sorted(told)]
    strata = _strata([answers for _, _, answers, _ in unique], wanted.targets)
    if any(group for _, _, _, group in unique):
        yield from _assign_groups(unique, strata, wanted)
        return
    if len(wanted.targets) == 1 and all(len(each) <= 1 for each in strata):
        classes: dict[frozenset[str], list[Member]] = defaultdict(list)
        for member, each in zip(unique, strata, strict=True):
            classes[each].append(member)
        for of_one in classes.values():
            yield from _carved(of_one, _deal(_pool(of_one), wanted))
        return
    of_each: dict[str, set[str]] = defaultdict(set)
    for (same, split, _, _), each in zip(unique, strata, strict=True):
        if split in ("", "train"):
            of_each[same] |= each
    yield from _carved(unique, _stratified(of_each, wanted.missing))


def _assign_groups(
    members: list[Member], strata: list[frozenset[str]], wanted: Wanted
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Like `assign`; whatever shares a group, or is the same as one of it, is on one side."""
    units = _units(members)
    of_each: dict[str, set[str]] = defaultdict(set)
    for (same, split, _, _), each in zip(members, strata, strict=True):
        if split in ("", "train"):
            of_each[units[same]] |= each
    dealt = _stratified(of_each, wanted.missing)
    yield from _carved(members, {same: dealt.get(unit, "train") for same, unit in units.items()})


def _units(members: list[Member]) -> dict[str, str]:
    """What is the same → what it is dealt with: the first, by a hash, of all groups that it is
    connected with."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for same, _, _, group in members:
        if group:
            # The lesser is the root, so that its name does not depend on the order.
            one, other = sorted((root(f"same {same}"), root(content_id(group.encode()))))
            parent[other] = one
    grouped = {same for same, _, _, group in members if group}
    return {same: root(f"same {same}") if same in grouped else same for same, _, _, _ in members}


def _strata(rows: list[list[Answer]], targets: tuple[Target, ...]) -> list[frozenset[str]]:
    """What is kept in proportion, for each example: of all its answers."""
    found: list[set[str]] = [set() for _ in rows]
    for number, target in enumerate(targets):
        answers = [answers[number] for answers in rows]
        for own, named in zip(found, task_of(target).strata(answers), strict=True):
            own |= {f"{number}/{name}" for name in named}
    return [frozenset(own) for own in found]


def _pool(members: list[Member]) -> list[str]:
    """What is the same of those whose split is not settled, sorted."""
    return sorted({same for same, split, _, _ in members if split in ("", "train")})


def _carved(members: list[Member], carved: dict[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for same, split in sorted({(same, split) for same, split, _, _ in members}):
        yield same, (split, carved[same] if split in ("", "train") else split)


def _deal(pool: list[str], wanted: Wanted) -> dict[str, str]:
    """One class, dealt to the splits that the data does not have."""
    missing, labels_per_class = wanted.missing, wanted.labels_per_class
    test = _share(len(pool), missing["test"]) if "test" in missing else 0
    labelled = len(pool) - test
    used = labelled if labels_per_class is None else min(labelled, labels_per_class)
    validation = _share(used, missing["validation"]) if "validation" in missing else 0
    assigned = ["test"] * test + ["validation"] * validation + ["train"] * (used - validation)
    assigned += ["unused"] * (labelled - used)
    return dict(zip(pool, assigned, strict=True))


def _stratified(strata: dict[str, set[str]], missing: dict[str, float]) -> dict[str, str]:
    """Examples of several strata each, dealt so that every split has its share of every stratum.

    Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011): the stratum with the fewest
    examples left is dealt next. Unlike there, in the order of the hash, and not to the split that
    lacks most, so that more data tomorrow changes little.
    """
    shares = {split: missing[split] for split in ("test", "validation") if split in missing}
    if "test" in shares and "validation" in shares:
        shares["validation"] *= 1 - shares["test"]
    totals = Counter(name for own in strata.values() for name in own)
    have: dict[str, Counter[str]] = {split: Counter() for split in shares}
    left, placed = dict(sorted(strata.items())), dict[str, str]()
    counts = Counter(totals)
    while left:
        rarest = min(
            (name for name in counts if counts[name]), default=None, key=lambda n: (counts[n], n)
        )
        members = [same for same, own in left.items() if rarest is None or rarest in own]
        total = len(members) if rarest is None else totals[rarest]
        chosen = iter(members)
        for split, share in shares.items():
            already = have[split][rarest] if rarest is not None else 0
            for same in itertools.islice(chosen, max(0, _share(total, share) - already)):
                placed[same] = split
                have[split].update(strata[same])
        for same in members:
            placed.setdefault(same, "train")
            counts.subtract(left.pop(same))
    return placed


def _share(size: int, fraction: float) -> int:
    """At least one where there are three or more, so that no class is without a test."""
    return max(round(size * fraction), min(1, size // 3))


def place(rows: Iterable[Row], places: Iterable[tuple[str, str]], wanted: Wanted) -> Iterator[Row]:
    """Rows that are the same, each in its split; those of one given split always together.

    Where the modality says that the same may be repeated, it is used in the last of its splits
    alone: in test, or else in validation. The rows in the others cannot be used.

    Args:
        places: (given split, assigned split), by `assign`.
    """
    may_repeat = MODALITIES[wanted.source.modality].raw.may_repeat
    splits: dict[str, str] = {}
    for given, assigned in sorted(places):
        # Content with two answers is assigned once for each; all its rows follow one of them.
        splits.setdefault(given, assigned)
    used = {split for split in splits.values() if split != "unused"}
    last = max(used, key=SPLITS.index, default="")
    ordered = sorted(
        rows, key=lambda row: (row["split"], row["name"], row["id"], json.dumps(row["answers"]))
    )
    for occurrence, row in enumerate(ordered):
        split = splits[row["split"]]
        if may_repeat and split in used and split != last:
            reason = f"is in {split}, and says the same as an example in {last}"
            yield _unusable(row["name"], row["answers"], reason)
        elif split in used:
            yield {**row, "split": split, "key": f"{row['id']}-{occurrence}"}


def without_raw(row: Row) -> Row:
    return {name: row[name] for name in COLUMNS if name in row}


def as_example(row: Row, modality: str, targets: tuple[Target, ...]) -> tuple[str, dict[str, Any]]:
    """A row with its raw form → its key and its example in the dataset."""
    example = {"id": row["id"], "name": row["name"], modality: row["raw"]}
    for target, answer in zip(targets, row["answers"], strict=True):
        example[target.name or LABEL] = task_of(target).stored(answer)
    return row["key"], example


def _unusable(name: str, answers: list[Answer], reason: str) -> Row:
    return {"name": name, "answers": answers, "reason": reason}
