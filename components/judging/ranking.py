"""Which of some giants to take: two finalists, the best by proxy and the best by prior.

Both tried beat either alone (Achille et al. 2020: arXiv:2010.06402). The proxy is what neighbours
say (arXiv:2503.18528), and where that cannot tell, linear heads; the prior what the giants were
published with, or their size, which ranks better than many a score (arXiv:2510.06448).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.artifacts import Appraisal
from components.files import read_json
from models import intervals

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Candidate:
    """A giant that was appraised.

    Attributes:
        name: what it is called where it is asked for.
        facts: see `appraise`.
        errors: each way to answer → (examples,) what it is off by.
    """

    name: str
    facts: Mapping[str, Any]
    errors: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, name: str, appraisal: Appraisal) -> Candidate:
        with np.load(appraisal.directory / "errors.npz", allow_pickle=False) as arrays:
            return cls(name, appraisal.facts, {way: arrays[way] for way in arrays.files})

    @cached_property
    def best_way(self) -> str:
        """Of linear heads: the one with the least error."""
        return min((w for w in ("last", "taps") if w in self.errors), key=self.error)

    def error(self, way: str) -> float:
        return float(self.errors[way].mean())

    @property
    def proxy(self) -> np.ndarray:
        """(examples,), by which it is ranked."""
        return self.errors["knn"]

    @property
    def prior(self) -> tuple[float, float]:
        """By which it is ranked before anything is looked at: more is better."""
        if not self.facts["knows"]:
            return (-1.0, 0.0)
        return (self.facts["published"] or 0.0, float(self.facts["weights"]))

    def interval(self, way: str) -> tuple[float, float]:
        """Of the error."""
        return _interval(self.errors[way])

    def apart(self, way: str, other: Candidate, its: str) -> tuple[float, float]:
        """The interval of how much more it is off by than another one, on the same examples."""
        return _interval(self.errors[way] - other.errors[its])


def candidates(appraisals: Mapping[str, Appraisal]) -> list[Candidate]:
    """Those that were appraised, on the examples that all of them were asked about."""
    found = [Candidate.of(name, appraisal) for name, appraisal in appraisals.items()]
    ids = [read_json(appraisal.directory / "ids.json") for appraisal in appraisals.values()]
    common = set(ids[0]).intersection(*ids[1:])
    kept = [[at for at, identity in enumerate(own) if identity in common] for own in ids]
    return [
        Candidate(each.name, each.facts, {way: values[rows] for way, values in each.errors.items()})
        for each, rows in zip(found, kept, strict=True)
    ]


def by_proxy(found: Sequence[Candidate]) -> list[Candidate]:
    """The best first. Of those that neighbours cannot tell from the best, heads decide."""
    order = sorted(found, key=_loss)
    alike = [each for each in order if not is_worse(each, order[0])]
    alike.sort(key=lambda each: each.error(each.best_way))
    return [*alike, *(each for each in order if each not in alike)]


def _loss(candidate: Candidate) -> float:
    """What is not known of classes is told by LogME, of which more is better."""
    logme = candidate.facts["logme"]
    return -float(logme[0]) if logme else float(candidate.proxy.mean())


def is_worse(candidate: Candidate, best: Candidate) -> bool:
    """Whether it is so beyond noise."""
    if candidate is best:
        return False
    mine, its = candidate.facts["logme"], best.facts["logme"]
    if mine and its:
        return bool(its[0] - mine[0] > 2 * np.hypot(mine[1], its[1]))
    return candidate.apart("knn", best, "knn")[0] > 0


def by_prior(found: Sequence[Candidate]) -> list[Candidate]:
    """The best first: by what they were published with where all were, else by their size."""
    known = [each for each in found if each.facts["knows"]]
    comparable = all(each.facts["published"] for each in known)

    def key(each: Candidate) -> tuple[float, float]:
        accuracy, weights = each.prior
        return (accuracy, weights) if comparable or accuracy < 0 else (0.0, weights)

    return sorted(found, key=key, reverse=True)


def finalists(found: Sequence[Candidate]) -> list[Candidate]:
    """The best by proxy and the best by prior; where they are one, the next by proxy, too."""
    order = by_proxy(found)
    both = [order[0], by_prior(found)[0]]
    if both[0] is both[1]:
        both = order[:2]
    return both


def chosen(found: Sequence[Candidate]) -> Candidate:
    """Of the finalists, the one whose linear head errs less, if it does beyond noise; else the one
    that was to be expected."""
    both = finalists(found)
    best = min(both, key=lambda each: each.error(each.best_way))
    expected = next(each for each in by_prior(found) if each in both)
    if expected is best or expected.apart(expected.best_way, best, best.best_way)[0] > 0:
        return best
    return expected


def _interval(errors: np.ndarray) -> tuple[float, float]:
    """Of their mean."""

    def mean(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"": counts @ errors / counts.sum(axis=1)}

    drawn = intervals.bootstrapped(mean, len(errors), np.zeros(len(errors), int))[""]
    return intervals.of_draws(drawn, float(errors.mean()), CONFIDENCE)
