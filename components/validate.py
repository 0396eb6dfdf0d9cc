"""validate (TFX: StatisticsGen + SchemaGen + ExampleValidator): are the examples fit to use?"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from typing import Any

from etils import epy

from components.artifacts import Checks, Examples
from components.examples import counting
from components.examples.counting import Key
from components.files import read_jsonl, write_json
from components.job import Job, stage
from components.modalities.table import MODALITIES
from components.tasks.protocol import Space, Target
from components.tasks.table import task_of
from models.mistakes import Mistake

with epy.lazy_imports():
    from components.on_beam import count as on_beam_count


@stage(version=5, plain=True)
def validate(
    job: Job, examples: Examples, other_targets: tuple[Target, ...] | None, allow_new_labels: bool
) -> Checks:
    """Count, look for leaks, and compare what is asked with the last blessed model's targets.

    Args:
        other_targets: of the last blessed model, where they differ; so that a new blessed model
            with the same targets does not make everything after this stage run again.
        allow_new_labels: accept the difference.

    Raises:
        Mistake: answers that will not do, such as one class, or a class with no example in train
            or test; an example in two splits; other targets or labels than the last blessed
            model's, without `allow_new_labels`.
    """
    index, tasks = examples.directory / "index.jsonl", tuple(t.task for t in examples.targets)
    if job.beam.runner:
        counted = on_beam_count.count(job, index, tasks)
    else:
        counted = counting.count(index, tasks)
    quarantined = sum(1 for _ in read_jsonl(examples.directory / "quarantine.jsonl"))
    total = sum(counted["examples", split] for split in examples.counts)
    answers = _answers(examples, counted)
    before = None if allow_new_labels else other_targets
    _check_targets(examples.targets, before)
    warnings = [
        warning
        for number, target in enumerate(examples.targets)
        for warning in task_of(target).check(target, answers[number], _space(target, before))
    ]
    _check_splits(counted)
    values: dict[str, Counter[Any]] = defaultdict(Counter)
    for (what, *which), times in counted.items():
        if what == "fact":
            values[which[0]][which[1]] = times
    kind = MODALITIES[examples.modality].raw
    facts = kind.summary(values)
    warnings += [*_warnings(counted, quarantined, total), *kind.warnings(facts)]
    warnings += [*_torn(counted), *_alike(examples.targets)]
    statistics = {
        "counts": {
            target.name: task_of(target).summary(target.space, answers[number])
            for number, target in enumerate(examples.targets)
        },
        "duplicates": total - counted[("ids",)],
        "conflicting_labels": counted[("conflicts",)],
        "quarantined": quarantined,
        "found": {name: examples.stats[name] for name in examples.account},
        "facts": facts,
        "warnings": warnings,
    }
    write_json(job.directory / "checks.json", statistics)
    labels = [len(t.space.labels) for t in examples.targets if t.space.labels]
    return Checks(
        directory=job.directory,
        examples=examples,
        warnings=tuple(warnings),
        stats={
            **({"classes": sum(labels)} if labels else {}),
            "duplicates": statistics["duplicates"],
            "warnings": warnings,
        },
    )


def _answers(examples: Examples, counted: Counter[Key]) -> list[dict[str, Counter[Any]]]:
    """For each target: split → what is counted of an answer → how often it occurs."""
    found: list[dict[str, Counter[Any]]] = [
        {split: Counter() for split in examples.counts} for _ in examples.targets
    ]
    for (what, *which), times in counted.items():
        if what == "answer":
            split, number, key = which
            found[number][split][key] = times
    return found


def _check_targets(targets: tuple[Target, ...], before: tuple[Target, ...] | None) -> None:
    asked, known = ({(t.name, t.task) for t in each} for each in (targets, before or targets))
    if asked != known:
        new, gone = (
            ", ".join(f"{name or 'one'} ({task})" for name, task in sorted(each)) or "none"
            for each in (asked - known, known - asked)
        )
        raise Mistake(
            f"targets must be those of the last blessed model, got new {new} and lost {gone}: "
            f"say --data.allow-new-labels if this is meant"
        )


def _space(target: Target, before: tuple[Target, ...] | None) -> Space | None:
    return next((t.space for t in before or () if t.name == target.name), None)


def _check_splits(counted: Counter[Key]) -> None:
    for clash in sorted(key[1:] for key in counted if key[0] == "clash")[:1]:
        name, split, other, other_split = clash
        raise Mistake(
            f"data.path must not have one example in two splits, got {name!r} in {split} and the "
            f"same content as {other!r} in {other_split}"
        )


def _alike(targets: tuple[Target, ...]) -> list[str]:
    """Labels that a person would take for one."""
    said = []
    for target in targets:
        forms: dict[str, list[str]] = defaultdict(list)
        for label in target.space.labels:
            forms[unicodedata.normalize("NFKC", label).casefold().strip()].append(label)
        said += [
            f"The labels {', '.join(map(repr, same))} differ in capitals, spaces or the form of "
            f"accents alone: are they one?"
            for same in forms.values()
            if len(same) > 1
        ]
    return said


def _torn(counted: Counter[Key]) -> list[str]:
    """Groups that are in more than one split, where the data gives the splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for what, *which in counted:
        if what == "group":
            splits[which[0]].add(which[1])
    torn = sorted(group for group, own in splits.items() if len(own) > 1)
    if not torn:
        return []
    return [
        f"{len(torn)} of {len(splits)} groups are in more than one split, such as {torn[0]!r}, "
        f"which flatters the figures."
    ]


def _warnings(counted: Counter[Key], quarantined: int, usable: int) -> list[str]:
    contents = counted[("ids",)]
    conflicts, duplicates = counted[("conflicts",)], usable - contents
    alike = contents - counted[("kinds",)]
    said = []
    if quarantined > 0.1 * (usable + quarantined):
        said.append(f"{quarantined} of {usable + quarantined} examples could not be used.")
    if conflicts:
        said.append(f"{conflicts} examples have two different labels.")
    elif duplicates:
        said.append(f"{duplicates} examples are exact copies of another one in their split.")
    if alike:
        said.append(f"{alike} examples are all but copies of another one in their split.")
    return said
