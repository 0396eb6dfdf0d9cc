"""Proposals about the data: more of it, other of it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from components.artifacts import SUSPECTS
from components.files import read_jsonl
from components.judging import likeness
from components.judging.judged import ALIKE
from components.judging.proposal import Found, Proposal, words
from components.tasks.more_labels import read
from components.tasks.table import task_of

# Less than this of the main figure is not worth a run.
_LEAST = 0.002


def more_labels(found: Found) -> Iterator[Proposal]:
    for told in read(found.suspects.directory):
        twice = told.with_examples(2 * told.answered)
        if not twice or not told.curve.still_falls:
            continue
        gain = float(told.curve.falls(told.answered, 2 * told.answered)[1])
        if told.more_is_better:
            gain = min(gain, found.error)  # There is no more to be gained.
        if gain < _LEAST * (1.0 if told.more_is_better else told.now):
            continue
        most = told.of_classes()
        yield Proposal(
            "Label more examples.",
            f"{told.summary()} {told.for_goal(told.goal)}{f' {most}' if most else ''}",
            "",
            gain,
            "Mahmood et al. 2022, arXiv:2207.01725",
        )
        return


def doubtful_labels(found: Found) -> Iterator[Proposal]:
    count, of = int(found.suspects.stats["suspects"]), found.suspects.questioned
    if of and count / of >= 0.05:
        yield Proposal(
            "Look at the labels that are in doubt, and fill in what is to be done.",
            f"{count} of {of} examples have an answer that heads which had not seen them doubt.",
            f"--data.patch {found.suspects.directory / SUSPECTS}",
            min(found.error / 2, count / of / 2),
            "Northcutt et al. 2021, arXiv:1911.00068",
        )


def same_on_both_sides(found: Found) -> Iterator[Proposal]:
    alike = likeness.read(found.evaluation.directory)
    if alike and alike["near"]["test"] >= 0.02 * found.evaluation.examples:
        yield Proposal(
            "Leave out test examples that are nearly the same as training ones: fill in drop.",
            f"Of {found.evaluation.examples} test examples, {alike['near']['test']} are: the "
            f"figures flatter.",
            f"--data.patch {alike['path']}",
            0.0,
            "Barz & Denzler 2020, arXiv:1902.00423",
        )


def unlike(found: Found) -> Iterator[Proposal]:
    alike = likeness.read(found.evaluation.directory)
    if alike is None or not alike["count"]:
        return
    unknown, usual = 1 - alike["known"] / alike["count"], 1 - alike["served"]["known"]
    if unknown > 3 * usual and unknown * alike["count"] >= 10:
        yield Proposal(
            "Label examples like those of the test.",
            f"{100 * unknown:.0f} % of the test examples are unlike all training examples, where "
            f"{100 * usual:.0f} % is usual: the test comes from elsewhere.",
            "",
            found.error * unknown / 2,
            "Sun et al. 2022, arXiv:2204.06507",
        )


def a_part_is_worse(found: Found) -> Iterator[Proposal]:
    name, figure = found.main
    for target, details in found.details():
        worse = [r for r in details.get("slices", ()) if r["worse"] and r["slice"] != ALIKE]
        if not worse or name.rpartition("/")[0] != target:
            continue
        row = max(worse, key=lambda row: row["count"])
        share = row["count"] / found.evaluation.examples
        gap = abs(row["value"] - found.evaluation.figures[name])
        yield Proposal(
            f"Label more examples whose {row['slice']} is {row['part']}.",
            f"Its {words(name)} there is {figure.plainly(row['value'])} on {row['count']} test "
            f"examples, {figure.plainly(found.evaluation.figures[name])} on all.",
            "",
            share * gap / 2 if figure.unit == "share" else 0.0,
            "Chung et al. 2019, arXiv:1807.06068",
        )


def rare_classes(found: Found) -> Iterator[Proposal]:
    counts: dict[str, int] = {}
    for row in read_jsonl(found.features.directory / "rows.jsonl"):
        for number, answer in enumerate(row["answers"]):
            if number == 0 and isinstance(answer, str) and row["split"] == "train":
                counts[answer] = counts.get(answer, 0) + 1
    target = found.evaluation.targets[0]
    classes = dict(found.details()).get(target.name, {}).get("classes")
    if "class_weights" not in task_of(target).config.model_fields or not classes:
        return
    if len(counts) < 2 or max(counts.values()) < 3 * min(counts.values()):
        return
    rare = min(counts, key=lambda label: counts[label])
    mean = sum(row["recall"] for row in classes.values()) / len(classes)
    if classes[rare]["recall"] < mean - 0.05:
        yield Proposal(
            f"Let {rare} count as much as the others.",
            f"It has {counts[rare]} of {sum(counts.values())} training examples, and a recall of "
            f"{classes[rare]['recall']:.3f}, where the mean is {mean:.3f}.",
            f"--{target.task.replace('_', '-')}.class-weights balanced",
            0.0,
            "King & Zeng 2001, Logistic regression in rare events data",
        )


def nobody_can_tell(found: Found) -> Iterator[Proposal]:
    name, figure = found.main
    low, high = found.evaluation.intervals[name]
    if figure.unit == "share" and high - low > 0.1:
        count = found.evaluation.judged[name]
        enough = int(round(count * ((high - low) / 0.1) ** 2, -2))
        yield Proposal(
            "Label more test examples.",
            f"Its {words(name)} may be anything from {figure.plainly(low)} to "
            f"{figure.plainly(high)}: with some {enough:,} test examples that is 0.05 either way.",
            "",
            0.0,
            "Wilson 1927",
        )
