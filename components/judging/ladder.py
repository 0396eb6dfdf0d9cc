"""How much of a giant to train: the rungs from cheap to dear, each with what speaks for it here.

The usual table (size of the data by likeness to what the giant knows: Stanford's CS231n, the Keras
guide to transfer learning) as rows that are decided by what was measured, where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.judging.ranking import Candidate

Verdict = Literal["do", "try", "no", "cannot tell"]

# Examples from which on training some blocks, or all of them, has been worth it; and of each class.
_SOME, _MANY, _FEW_OF_EACH = 200, 1000, 5
# An error that surely is no more than this is no room for anything.
_ROOM = 0.01
# Training a step costs as much as so many forward passes; the epochs of a usual run.
_STEP, _EPOCHS = 3.0, 10


@dataclass(frozen=True)
class Rung:
    """A way to use the giant.

    Attributes:
        name: of the way.
        verdict: whether to take it.
        why: the evidence, a sentence.
        seconds: it is likely to take here, the pass through the frozen part included; None where
            nobody knows.
    """

    name: str
    verdict: Verdict
    why: str
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Data:
    """What there is to learn from.

    Attributes:
        examples: with an answer.
        of_each: how many each class has; empty where there are no classes.
    """

    examples: int
    of_each: Mapping[str, int]

    @classmethod
    def of(cls, answers: Sequence[Any]) -> Data:
        known = [answer for answer in answers if answer is not None]
        counts = Counter(a for a in known if isinstance(a, str))
        return cls(len(known), dict(counts))

    @property
    def rarest(self) -> tuple[str, int] | None:
        return min(self.of_each.items(), key=lambda each: each[1], default=None)


def rungs(best: Candidate, data: Data) -> list[Rung]:
    """All of them, from cheap to dear."""
    return list(_rungs(best, data))


def _rungs(best: Candidate, data: Data) -> Iterator[Rung]:
    facts, rarest = best.facts, data.rarest
    single = rarest is not None and rarest[1] < 2
    a_pass = _seconds(facts, data.examples)
    yield _prototypes(best, data, a_pass)
    if single and rarest:
        why = f"Nothing can be left out to be asked about: {rarest[0]!r} has one example."
        yield Rung("a linear head on the last layer", "cannot tell", why, a_pass)
        yield Rung("a linear head on taps", "cannot tell", why, a_pass)
    else:
        yield from _linear(best, a_pass)
    yield from _tuned(best, data)
    yield _from_scratch(best, data)


def _prototypes(best: Candidate, data: Data, a_pass: float | None) -> Rung:
    name, rarest = "prototypes: the mean of each class", data.rarest
    if "prototypes" not in best.errors:
        return Rung(name, "no", "There are no classes to take the means of.", a_pass)
    if rarest and rarest[1] < 2:
        why = f"{rarest[0]!r} has one example: there is nothing else to be had of it."
        return Rung(name, "do", why, a_pass)
    low, high = best.apart("prototypes", best, best.best_way)
    said = (
        f"Error {best.error('prototypes'):.3f}, that of a linear head "
        f"{best.error(best.best_way):.3f} (the difference is {low:+.3f} to {high:+.3f})"
    )
    if high < 0 or (low <= 0 and rarest and rarest[1] < _FEW_OF_EACH):
        return Rung(name, "do", f"{said}.", a_pass)
    return Rung(name, "no", f"{said}; they need no training, and classes can be added.", a_pass)


def _linear(best: Candidate, a_pass: float | None) -> Iterator[Rung]:
    last, taps = "a linear head on the last layer", "a linear head on taps"
    error = f"Error {best.error('last'):.3f} by cross-validation"
    if "taps" not in best.errors:
        yield Rung(last, "do", f"{error}; there is no block below.", a_pass)
        yield Rung(taps, "no", "There is no block below the last one.", a_pass)
        return
    low, high = best.apart("last", best, "taps")
    more = f"that of the last layer alone differs by {low:+.3f} to {high:+.3f}"
    yield Rung(last, "no" if low > 0 else "do", f"{error}.", a_pass)
    verdict: Verdict = "do" if low > 0 else "no" if high < 0 else "try"
    yield Rung(taps, verdict, f"Error {best.error('taps'):.3f}; {more}.", a_pass)


def _tuned(best: Candidate, data: Data) -> Iterator[Rung]:
    facts, count = best.facts, data.examples
    low, _ = best.interval(best.best_way)
    room = low > _ROOM
    place = facts["domain"]["place"] if facts["domain"] else "nobody knows how near"
    there = f"{count} examples, {place} to what it was trained on"
    ways: list[tuple[str, int, float, bool, str]] = [
        ("the last blocks, or LoRA", _SOME, 0.25, True, "fewer overfit"),
        ("half of the blocks", _MANY, 0.5, True, "fewer overfit"),
        ("all blocks", _MANY, 1.0, place != "near", "what is near needs no new first layers"),
    ]
    for name, least, share, fits, otherwise in ways:
        seconds = _seconds(facts, count, _STEP * _EPOCHS * share)
        if not room:
            why = f"A frozen giant leaves no more than {low:.3f} to be gained, surely."
            yield Rung(name, "no", why, seconds)
        elif count < least:
            yield Rung(name, "no", f"{there}; from {least} on: {otherwise}.", seconds)
        elif not fits:
            yield Rung(name, "no", f"{there}: {otherwise}.", seconds)
        else:
            why = f"{there}; the error of a linear head is {best.error(best.best_way):.3f}."
            yield Rung(name, "try", why, seconds)


def _from_scratch(best: Candidate, data: Data) -> Rung:
    seconds = _seconds(best.facts, data.examples, _STEP * 10 * _EPOCHS)
    why = (
        "The first run trains the best it can from scratch to compare with; nothing here needs it."
    )
    if not best.facts["knows"]:
        why = "No giant that knows anything was better than one with random weights."
        return Rung("from scratch", "try", why, seconds)
    return Rung("from scratch", "no", why, seconds)


def _seconds(facts: Mapping[str, Any], examples: int, more: float = 0.0) -> float | None:
    """Of one pass through the giant, and so many more."""
    each = facts["milliseconds"]
    return None if not each else round(examples * each / 1000 * (1 + more), 1)
