"""Answers that models which have not seen the examples doubt, and labels that are the same to them.

(answers, outputs, space) each, as `Task.doubts` and `Task.twins` have them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from etils import epy

from components.tasks.figures import CONFIDENCE
from components.tasks.protocol import Answer, Doubt, Space, Twins

with epy.lazy_imports():
    from sklearn import metrics

    from models import intervals

# No probability is nearer to 0 where it is divided by.
_LEAST = 1e-30
# Of labels with fewer examples it is not asked whether they can be told apart.
_FEWEST = 10
# An AUROC up to this is hardly better than guessing.
_GUESSED = 0.65
# A normal deviation as a multiple of the median of what is off; and how many are far.
_NORMAL, _FAR = 1.4826, 3.0


def of_classes(answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Doubt]:
    """Confident learning (Northcutt et al. 2021, arXiv:1911.00068).

    Of another class is what is at least as probable to be as those that are called so are on
    average; the more so, the more probable it is than what it is called.
    """
    told = [row for row, answer in enumerate(answers) if answer in space.labels]
    given = np.array([space.labels.index(answers[row]) for row in told], np.int64)
    shares = outputs[told]
    average = np.full(len(space.labels), np.inf)
    for label in np.unique(given):
        average[label] = shares[given == label, label].mean()
    other = np.where(shares >= average, shares, 0.0)
    rows = np.arange(len(told))
    other[rows, given] = 0.0
    best = other.argmax(axis=1) if len(told) else given
    doubt = other[rows, best] - shares[rows, given]
    return [
        Doubt(told[row], space.labels[best[row]], float(doubt[row]))
        for row in np.flatnonzero(doubt > 0)
    ]


def of_labels(answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Doubt]:
    """As of one label, of each label there or not; the labels that are in doubt change sides."""
    told = [row for row, answer in enumerate(answers) if answer is not None]
    there = np.array([[label in answers[row] for label in space.labels] for row in told], bool)
    there = there.reshape(len(told), len(space.labels))
    shares = np.where(there, outputs[told], 1 - outputs[told])  # Of what is said to be so.
    found = np.zeros(shares.shape)
    for label in range(len(space.labels)):
        for side in (True, False):
            inside, beyond = there[:, label] == side, there[:, label] != side
            if inside.any() and beyond.any():
                other = 1 - shares[inside, label]
                sure = other >= shares[beyond, label].mean()
                found[inside, label] = np.where(sure, other - shares[inside, label], 0.0)
    flipped = there ^ (found > 0)
    return [
        Doubt(
            told[row],
            [space.labels[label] for label in np.flatnonzero(flipped[row])],
            float(found[row].max()),
        )
        for row in np.flatnonzero((found > 0).any(axis=1))
    ]


def of_numbers(answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Doubt]:
    """What is farther off than three times the usual: the median, which few mistakes move."""
    told = [row for row, answer in enumerate(answers) if answer is not None]
    said = outputs[told, 0] * space.deviation + space.mean
    off = np.abs(np.array([answers[row] for row in told], np.float64) - said)
    usual = _NORMAL * float(np.median(off)) if told else 0.0
    return [
        Doubt(told[row], float(f"{said[row]:.6g}"), 1 - _FAR * usual / off[row])
        for row in np.flatnonzero(off > _FAR * max(usual, 1e-12))
    ]


def twins_of_classes(answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Twins]:
    """Pairs that are taken for one another, and that are surely hardly better told than guessed.

    The interval is that of Hanley & McNeil 1982.
    """
    told = [row for row, answer in enumerate(answers) if answer in space.labels]
    given = np.array([space.labels.index(answers[row]) for row in told], np.int64)
    said = outputs[told]
    mistaken = Counter(tuple(sorted(pair)) for pair in zip(given, said.argmax(axis=1), strict=True))
    pairs = [(one, other) for (one, other), count in mistaken.items() if one != other and count > 1]
    found = []
    for one, other in pairs:
        is_one = given == one
        either = is_one | (given == other)
        counts = int(is_one.sum()), int((given == other).sum())
        if min(counts) < _FEWEST:
            continue
        share = said[either, one] / np.maximum(said[either, one] + said[either, other], _LEAST)
        area = float(metrics.roc_auc_score(is_one[either], share))
        low, high = intervals.of_area(area, *counts, CONFIDENCE)
        if high <= _GUESSED:
            names = space.labels[one], space.labels[other]
            found.append(Twins(*names, area, low, high, sum(counts)))
    return sorted(found, key=lambda pair: pair.auroc)


def no_twins(answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Twins]:
    """Where an answer is no label, or each label is there or not by itself."""
    del answers, outputs, space
    return []
