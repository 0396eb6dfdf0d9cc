"""validate (TFX: StatisticsGen + SchemaGen + ExampleValidator): are the examples fit to use?"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from etils import epy

from components.artifacts import Checks, Examples
from components.examples import counting
from components.examples.counting import Key
from components.files import read_jsonl, write_json
from components.job import Job, stage
from components.modalities.table import MODALITIES
from models.mistakes import Mistake

with epy.lazy_imports():
    from components.on_beam import count as on_beam_count

# A class this many times more frequent than another is worth a warning.
IMBALANCE = 10


@stage(version=2, plain=True)
def validate(
    job: Job,
    examples: Examples,
    other_labels: tuple[str, ...] | None,
    allow_new_labels: bool,
) -> Checks:
    """Count, look for leaks, and compare the labels with the last blessed model's.

    Args:
        other_labels: of the last blessed model, where they differ; so that a new blessed model
            with the same labels does not make everything after this stage run again.
        allow_new_labels: accept the difference.

    Raises:
        Mistake: one class; a class with no example in train or test; an example in two splits;
            another label set than the last blessed model's, without `allow_new_labels`.
    """
    index = examples.directory / "index.jsonl"
    counted = on_beam_count.count(job, index) if job.beam.runner else counting.count(index)
    quarantined = sum(1 for _ in read_jsonl(examples.directory / "quarantine.jsonl"))
    counts: dict[str, Counter[str]] = {split: Counter() for split in examples.counts}
    values: dict[str, Counter[Any]] = defaultdict(Counter)
    for (what, *which), times in counted.items():
        if what == "examples":
            counts[which[0]][which[1]] = times
        elif what == "fact":
            values[which[0]][which[1]] = times
    _check_classes(examples.labels, counts)
    _check_splits(counted)
    _check_labels(examples.labels, other_labels, allow_new_labels)
    total = sum(each.total() for each in counts.values())
    contents = counted[("ids",)]
    conflicts, duplicates = counted[("conflicts",)], total - contents
    alike = contents - counted[("kinds",)]
    facts = MODALITIES[examples.modality].summary(values)
    warnings = _warnings(counts, quarantined, total, duplicates, alike, conflicts, facts)
    statistics = {
        "counts": {
            split: {label: count[label] for label in examples.labels}
            for split, count in counts.items()
        },
        "duplicates": duplicates,
        "conflicting_labels": conflicts,
        "quarantined": quarantined,
        "facts": facts,
        "warnings": warnings,
    }
    write_json(job.directory / "checks.json", statistics)
    return Checks(
        directory=job.directory,
        examples=examples,
        warnings=tuple(warnings),
        stats={"classes": len(examples.labels), "duplicates": duplicates, "warnings": warnings},
    )


def _check_classes(labels: tuple[str, ...], counts: dict[str, Counter[str]]) -> None:
    if len(labels) < 2:
        raise Mistake(f"data.path must have at least two classes, got {', '.join(labels)!r} alone")
    for split in ("train", "test"):
        for label in labels:
            if not counts[split][label]:
                raise Mistake(
                    f"data.path must have examples of every class in {split}, got none of {label!r}"
                )


def _check_splits(counted: Counter[Key]) -> None:
    for clash in sorted(key[1:] for key in counted if key[0] == "clash")[:1]:
        name, split, other, other_split = clash
        raise Mistake(
            f"data.path must not have one example in two splits, got {name!r} in {split} and the "
            f"same content as {other!r} in {other_split}"
        )


def _check_labels(
    labels: tuple[str, ...], blessed: tuple[str, ...] | None, allow_new_labels: bool
) -> None:
    if blessed is None or allow_new_labels or set(labels) == set(blessed):
        return
    new, gone = sorted(set(labels) - set(blessed)), sorted(set(blessed) - set(labels))
    raise Mistake(
        f"data.path must have the labels of the last blessed model, got new labels "
        f"{', '.join(new) or 'none'} and lost labels {', '.join(gone) or 'none'}: "
        f"say --data.allow-new-labels if this is meant"
    )


def _warnings(
    counts: dict[str, Counter[str]],
    quarantined: int,
    usable: int,
    duplicates: int,
    alike: int,
    conflicts: int,
    facts: dict[str, Any],
) -> list[str]:
    train = counts["train"]
    most, least = max(train, key=lambda c: train[c]), min(train, key=lambda c: train[c])
    said = []
    if train[most] > IMBALANCE * train[least]:
        said.append(f"{most} has {train[most]} training examples, {least} has {train[least]}.")
    if quarantined > 0.1 * (usable + quarantined):
        said.append(f"{quarantined} of {usable + quarantined} examples could not be used.")
    if conflicts:
        said.append(f"{conflicts} examples have two different labels.")
    elif duplicates:
        said.append(f"{duplicates} examples are exact copies of another one in their split.")
    if alike:
        said.append(f"{alike} examples are all but copies of another one in their split.")
    if facts.get("exif_turned"):
        said.append(
            f"{facts['exif_turned']} pictures have an EXIF orientation, which neither training "
            f"nor serving applies."
        )
    return said
