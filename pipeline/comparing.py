"""Two past runs side by side: figures with paired intervals, what flipped, what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.artifacts import Evaluation
from components.judging import comparing
from components.tasks.figures import Comparison
from components.tasks.protocol import Figure
from components.tasks.table import figures_of
from models.mistakes import Mistake, nearest
from pipeline.records import RunRecord, past_runs
from pipeline.store import Store, read_manifest

# So many examples that flipped are named each way.
_NAMED = 5


@dataclass(frozen=True)
class Compared:
    """A run beside an earlier one, or whichever was named first.

    Attributes:
        figures: every figure that both have, on the examples that they share.
        kinds: what each figure is.
        shared: how many test examples both were asked about; and those that only one was.
        gained: the names of examples that the second is right about alone, and `lost`, the first.
        asked: what each stage was asked for that differs: (stage and key, first, second).
    """

    first: RunRecord
    second: RunRecord
    figures: list[Comparison]
    kinds: dict[str, Figure]
    shared: int
    only_first: int
    only_second: int
    gained: list[str]
    lost: list[str]
    asked: list[tuple[str, Any, Any]]


def compare(store: Store, first: str, second: str) -> Compared:
    """Compare two runs by their ids, or what these begin or end with."""
    records = past_runs(store.runs)
    one, other = (_found(name, records) for name in (first, second))
    before, after = (_evaluation(store, record) for record in (one, other))
    figures = comparing.compare(after, before)
    if not figures:
        raise Mistake(
            f"RUN must be runs that were asked the same, got {one.run_id} and {other.run_id}, "
            f"which share no test example"
        )
    ids = [comparing.asked_about(each) for each in (before, after)]
    gained, lost = _flipped(after, before)
    return Compared(
        one,
        other,
        figures,
        figures_of(after.targets),
        len(ids[0] & ids[1]),
        len(ids[0] - ids[1]),
        len(ids[1] - ids[0]),
        gained,
        lost,
        list(_asked(store, one, other)),
    )


def _found(name: str, records: list[RunRecord]) -> RunRecord:
    known = [r for r in records if r.run_id.startswith(name) or r.run_id.endswith(name)]
    if not name or len(known) != 1:
        ids = [record.run_id for record in records]
        what = "several begin or end with" if len(known) > 1 else "none is called"
        raise Mistake(
            f"RUN must be the id of a past run, got {name!r}: {what} it; {nearest(name, ids)}"
        )
    return known[0]


def _evaluation(store: Store, record: RunRecord) -> Evaluation:
    refs = {stage["name"]: stage["artifact"] for stage in record.stages}
    found = store.load(Evaluation, refs["evaluate"]) if "evaluate" in refs else None
    if found is None:
        raise Mistake(
            f"RUN must have evaluated its model, got {record.run_id}, whose evaluation is not there"
        )
    return found


def _flipped(after: Evaluation, before: Evaluation) -> tuple[list[str], list[str]]:
    """The names of those that are right now and were wrong, and the other way round."""
    gained: list[str] = []
    lost: list[str] = []
    for pair in comparing.pairs(after, before):
        for name, right in pair.this.shares.items():
            was = pair.other.shares[name]
            gained += [pair.keys[row][1] for row in (right & ~was).nonzero()[0]]
            lost += [pair.keys[row][1] for row in (was & ~right).nonzero()[0]]
    return gained, lost


def _asked(store: Store, one: RunRecord, other: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    """What differs in what the stages of both were asked for, but for what others made."""
    refs = [{stage["name"]: stage["artifact"] for stage in r.stages} for r in (one, other)]
    for name in refs[0]:
        if name not in refs[1] or refs[0][name] == refs[1][name]:
            continue
        made = [read_manifest(store.root / each[name])["inputs"] for each in refs]
        yield from _differences(name, *made)


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        if "digest" in old or "digest" in new:
            return  # Another artifact: what made it so is told of its own stage.
        for key in sorted(old.keys() | new.keys()):
            inner = path if key == "config" else f"{path}.{key}"
            yield from _differences(inner, old.get(key), new.get(key))
    elif old != new and not isinstance(old, dict) and not isinstance(new, dict):
        yield path, old, new


def lines(found: Compared) -> Iterator[str]:
    """For people."""
    yield f"first   {found.first.run_id}  {found.first.seconds:.1f} s"
    yield f"second  {found.second.run_id}  {found.second.seconds:.1f} s"
    if found.only_first or found.only_second:
        yield (
            f"on the {found.shared} test examples that both were asked about; {found.only_first} "
            f"were asked of the first alone, {found.only_second} of the second"
        )
    yield ""
    yield f"{'figure':<24}{'first':>10}{'second':>10}{'change':>10}  95 % interval"
    for each in found.figures:
        figure = found.kinds[each.name]
        digits = ".3f" if figure.unit == "share" else ".4g"
        numbers = [f"{x:{digits}}" for x in (each.other, each.value)]
        signed = [f"{x:+{digits}}" for x in (each.change, each.low, each.high)]
        yield (
            f"{each.name:<24}{numbers[0]:>10}{numbers[1]:>10}{signed[0]:>10}  {signed[1]} to "
            f"{signed[2]}, {each.verdict(figure)}"
        )
    for what, names in (
        ("right in the second alone", found.gained),
        ("right in the first alone", found.lost),
    ):
        if names:
            more = " …" if len(names) > _NAMED else ""
            yield f"{len(names)} {what}: {', '.join(sorted(names)[:_NAMED])}{more}"
    if found.asked:
        yield ""
        yield from (f"{path}: {old} → {new}" for path, old, new in found.asked)
