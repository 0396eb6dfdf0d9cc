"""Soups: the weights of several heads, averaged (Wortsman et al. 2022, arXiv:2203.05482).

The average of linear heads says what an ensemble of them says before its activation, and costs
what one does. Ingredients are added while the loss of examples that no head has seen falls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epy

from components.job import Job
from components.tasks.learning import Learning
from components.training import paired
from components.training.choosing import Candidate, Chooser
from components.training.head_config import HeadConfig
from components.training.phases import train_phase
from components.training.trials import Trials
from models import linear
from models.linear import Fit, Path
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from models import distribution

# Ingredients at most, one of which may be in it several times.
_MOST = 8
# By what the rates and decays of further heads are multiplied, in turn.
_RATES, _DECAYS = (1.0, 3.0, 0.3), (0.0, 0.01, 0.1)
# So likely an answer is at least: of less there is no logarithm.
_LEAST = 1e-9


def greedy(count: int, losses: Callable[[Sequence[int]], np.ndarray]) -> list[int]:
    """Ingredients by their numbers, the first the best alone; each as often as it lowers the loss.

    Args:
        losses: of these ingredients → (examples,). What a soup loses less than the best alone must
            be more than the standard error of that, on the same examples: else it is that alone.
    """
    alone = [losses([number]) for number in range(count)]
    best = int(np.argmin([each.mean() for each in alone]))
    taken, found = [best], alone[best]
    while len(taken) < _MOST:
        tried = [losses([*taken, number]) for number in range(count)]
        least = int(np.argmin([each.mean() for each in tried]))
        if not tried[least].mean() < found.mean():
            break
        taken, found = [*taken, least], tried[least]
    fell, error = paired.better_by(alone[best], found)
    return taken if fell > error else [best]


def of_epochs(
    job: Job,
    trials: Trials,
    head: keras.Model,
    config: HeadConfig,
    learning: Learning,
    known: Sequence[int] = (),
) -> dict[str, Any]:
    """Train so many heads more, and give `head`, the first, the average of those that help.

    Args:
        known: which are averaged, where that is decided.
    """
    if distribution.replicas() > 1:
        raise Mistake(f"head.soup must be 0 where several devices train, got {config.soup}")
    numbers = sorted(set(known)) if known else range(config.soup + 1)
    kettle = {0: head.get_weights()}
    for number in numbers:
        if number:
            kettle[number] = _one_more(trials, config, number)
            job.progress("heads of a soup", number, config.soup)

    def losses(taken: Sequence[int]) -> np.ndarray:
        mean = [np.mean(each, axis=0) for each in zip(*(kettle[n] for n in taken), strict=True)]
        head.set_weights(mean)
        lost: np.ndarray = np.nan_to_num(judge(), nan=np.inf, posinf=1e9)
        return lost

    judge = paired.losses(head, trials.data, trials.features.model.targets, learning)
    taken = list(known) or greedy(len(kettle), losses)
    fell, error = paired.better_by(losses([0]), losses(taken))
    return {"soup": taken, "of": config.soup + 1, "fell": fell, "fell_error": error}


def _one_more(trials: Trials, config: HeadConfig, number: int) -> list[np.ndarray]:
    """The weights of a head that is trained otherwise than the first."""
    other = config.model_copy(
        update={
            "learning_rate": float(config.learning_rate) * _RATES[number % 3],
            "weight_decay": config.weight_decay + _DECAYS[number // 3 % 3],
        }
    )
    head = trials.head(other)
    train_phase(head, trials.data, other, trials.seed + number)
    weights: list[np.ndarray] = head.get_weights()
    return weights


def said(stats: dict[str, Any]) -> str:
    """What became of it, in words that follow others."""
    taken = len(set(stats["soup"]))
    if taken == 1:
        return f"; no average of {stats['of']} heads was better beyond noise"
    return (
        f"; the average of {taken} heads of {stats['of']} (validation loss fell by "
        f"{stats['fell']:.4f} ± {stats['fell_error']:.4f})"
    )


# Heads on some of the taps, and how much of the whole each is.
Parts = Sequence[tuple[Candidate, float]]


def of_taps(chooser: Chooser, best: Candidate, tried: Sequence[Candidate]) -> Parts:
    """Which of the heads that were tried are to be averaged; the best alone, if none."""

    def losses(taken: Sequence[int]) -> np.ndarray:
        return mixed(chooser, [(tried[number], 1 / len(taken)) for number in taken]).losses

    found = Counter(greedy(len(tried), losses))
    if len(found) == 1:
        return [(best, 1.0)]
    return [(tried[number], times / found.total()) for number, times in sorted(found.items())]


def mixed(chooser: Chooser, parts: Parts) -> Candidate:
    """What heads on several taps come to, as one on all of these."""
    if len(parts) == 1:
        return parts[0][0]
    taps = tuple(name for name in chooser.widths if any(name in own.taps for own, _ in parts))
    paths = []
    for number, question in enumerate(chooser.questions):
        sums = sum(
            share * _sums(own.paths[number].said, question.activation) for own, share in parts
        )
        said = linear.activated(np.asarray(sums), question.activation)
        strength = max(parts, key=lambda part: part[1])[0].paths[number].strength
        paths.append(Path(strength, said, question.losses(said)))
    width = sum(chooser.widths[name] for name in taps)
    return Candidate(taps, width, tuple(paths), chooser.losses(paths))


def average(chooser: Chooser, parts: Parts, fits: Sequence[Sequence[Fit]]) -> Sequence[Fit]:
    """Heads on some of the taps each → one a target that reads all of them.

    Args:
        fits: of each part, one a target.
    """
    if len(parts) == 1:
        return fits[0]
    whole, found = mixed(chooser, parts), []
    for number, question in enumerate(chooser.questions):
        kernel = np.zeros((whole.width, question.targets.shape[1]))
        bias = np.zeros(question.targets.shape[1])
        for (own, share), fit in zip(parts, fits, strict=True):
            kernel[_rows(chooser, whole, own)] += share * fit[number].kernel
            bias += share * fit[number].bias
        found.append(Fit(kernel, bias, question.activation))
    return found


def in_words(chooser: Chooser, parts: Parts) -> str:
    """What is averaged, and what that is worth, to follow other words; nothing where one is all."""
    if len(parts) == 1:
        return ""
    best = min((own for own, _ in parts), key=lambda own: own.loss)
    less, error = best.worse_than(mixed(chooser, parts))
    told = " and ".join(f"{share:.0%} on {len(own.taps)} taps" for own, share in parts)
    return (
        f"; an average of heads, {told}, loses less than the best of them, by {less:.4f} ± "
        f"{error:.4f}"
    )


def _rows(chooser: Chooser, whole: Candidate, own: Candidate) -> np.ndarray:
    """Which of the features of `whole` those of `own` are."""
    each = [np.full(chooser.widths[name], name in own.taps) for name in whole.taps]
    return np.flatnonzero(np.concatenate(each))


def _sums(said: np.ndarray, activation: str) -> np.ndarray:
    """What an activation has made outputs of, but for what is the same of all classes."""
    if activation == "linear":
        return said
    found: np.ndarray = np.log(np.clip(said, _LEAST, 1.0))
    if activation == "sigmoid":
        found -= np.log(np.clip(1.0 - said, _LEAST, 1.0))
    return found
