"""Which taps a linear head is to read, decided by cross-validation on what the store has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Features
from components.frozen.batches import Inputs
from components.tasks.learning import Learning
from components.tasks.table import slices, task_of
from components.training.data import told, wanted
from models import linear, strata
from models.designs import Scale, axes
from models.linear import Path, Question
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

# So many examples choose; of many thousands, twice as many: more would take long.
_CHOOSERS, _THOUSANDS = 640, 5000
# What a standardized feature of a block below the last counts, beside 1: where the last layer is
# nearly all that is needed, many others only add noise. Of MobileNetV2 on ants and bees, foods and
# solar cells, with 100 to 350 examples, 0.5 and 0.7 did better than 0, 0.2, 0.4 and 1.
LOWER = 0.7
# Parts in which they are left out in turn: of many examples, fewer will do.
_FOLDS, _MANY = (5, 3), 400


@dataclass(frozen=True)
class Candidate:
    """Taps that were tried, and what cross-validation found of a head on them.

    Attributes:
        taps: their names, from the bottom up.
        width: how many features they have.
        paths: for each target.
        losses: (examples,), of all targets, as they weigh.
    """

    taps: tuple[str, ...]
    width: int
    paths: tuple[Path, ...]
    losses: np.ndarray

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    def worse_than(self, other: Candidate) -> tuple[float, float]:
        """(by how much, the standard error of that), paired on the same examples."""
        apart = self.losses - other.losses
        return float(apart.mean()), float(apart.std(ddof=1) / np.sqrt(len(apart)))


@dataclass(frozen=True)
class Chooser:
    """The examples that choose: products of each other, tap by tap.

    Attributes:
        products: the name of each tap → (examples, examples), of its standardized features, as they
            count.
        widths: the name of each tap → how many features it has.
        count: how many examples there are in all, of which these are some.
        answers: (examples) of theirs to all targets.
        questions: a target each, of these examples.
        weights: of each target.
        chosen: of the examples to train and to validate with, which these are.
    """

    products: dict[str, np.ndarray]
    widths: dict[str, int]
    questions: tuple[Question, ...]
    weights: tuple[float, ...]
    count: int
    targets: tuple[Any, ...]
    answers: list[list[Any]]
    chosen: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, features: Features, learning: Learning, both: Sequence[Inputs]) -> Chooser:
        count = sum(map(len, both))
        share = min(1.0, _choosers(count) / count)
        every = [np.arange(len(inputs)) for inputs in both]
        questions = questions_of(features, learning, both, every)
        parts, first = [], 0
        for inputs in both:
            targets = [question.targets[first : first + len(inputs)] for question in questions]
            parts.append(_spread(inputs, targets, int(-(-len(inputs) * share // 1))))
            first += len(inputs)
        array = np.concatenate(
            [inputs.gather(rows, 0) for inputs, rows in zip(both, parts, strict=True)]
        )
        if not np.isfinite(array).all():
            raise Mistake(
                f"model.weights must give finite features, got others of "
                f"{features.model.backbone} ({features.model.pretrained})"
            )
        products, start = {}, 0
        for name, width in features.taps.items():
            part = array[:, start : start + width]
            standard = Scale.of([part])(part)
            counts = width * weight_of(name, features) ** 2
            products[name] = np.asarray(standard @ standard.T, np.float64) * counts
            start += width
        return cls(
            products,
            features.taps,
            tuple(question.of(_places(both, parts)) for question in questions),
            tuple(learning.weights.get(t.name, 1.0) for t in features.model.targets),
            count,
            features.model.targets,
            [
                inputs.rows[row]["answers"]
                for inputs, rows in zip(both, parts, strict=True)
                for row in rows
            ],
            tuple(parts),
        )

    def rows(self, both: Sequence[Inputs]) -> list[dict[str, Any]]:
        """Of these examples."""
        pairs = zip(both, self.chosen, strict=True)
        return [inputs.rows[row] for inputs, rows in pairs for row in rows]

    def features(self, both: Sequence[Inputs]) -> np.ndarray:
        """(examples, features) of all taps, as they are."""
        pairs = zip(both, self.chosen, strict=True)
        return np.concatenate([inputs.gather(rows, 0) for inputs, rows in pairs])

    @property
    def are_some(self) -> bool:
        """Whether there are more examples than choose."""
        return self.count > len(self.questions[0].targets)

    def try_out(
        self, taps: Sequence[str], strengths: Sequence[Sequence[float]] | None = None
    ) -> Candidate:
        """Cross-validate heads on `taps`; all strengths where None, else those for each target."""
        width = sum(self.widths[name] for name in taps)
        products = np.sum([self.products[name] for name in taps], axis=0)
        coordinates = axes(products / width)
        targets = [question.targets for question in self.questions]
        folds = strata.folds(targets, _folds(len(coordinates)))
        paths = []
        for number, question in enumerate(self.questions):
            given = linear.STRENGTHS if strengths is None else strengths[number]
            paths.append(linear.cross_validate(coordinates, question, folds, given))
        return Candidate(tuple(taps), width, tuple(paths), self.losses(paths))

    def losses(self, paths: Sequence[Path]) -> np.ndarray:
        """(examples,) of all targets, as they weigh."""
        found = np.zeros(len(self.answers))
        for question, weight, path in zip(self.questions, self.weights, paths, strict=True):
            counts = question.weights / max(float(question.weights.mean()), 1e-12)
            found += weight * counts * path.losses
        return found


def _places(both: Sequence[Inputs], parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of each part, as they are numbered where the parts are one after the other."""
    starts = np.cumsum([0, *map(len, both)])
    return np.concatenate([start + part for start, part in zip(starts, parts, strict=False)])


def weight_of(tap: str, features: Features) -> float:
    """What its standardized features count."""
    top = next(reversed(features.taps)).partition("/")[0]
    return 1.0 if tap.partition("/")[0] == top else LOWER


def scale_of(features: Features, array: np.ndarray) -> Scale:
    """What standardizes (examples, features) of what is stored, each counting as its tap does."""
    scale = Scale.of([array])
    if "taps" not in features.keys:
        return scale
    weights = [weight_of(tap, features) for tap in features.taps]
    return scale.weighed(np.repeat(weights, list(features.taps.values())))


def _choosers(examples: int) -> int:
    return _CHOOSERS if examples < _THOUSANDS else 2 * _CHOOSERS


def fitted_to(examples: int) -> float:
    """To how many examples each head was fitted that was tried, where there are so many."""
    some = min(_choosers(examples), examples)
    return some * (1 - 1 / _folds(some))


def _folds(examples: int) -> int:
    return _FOLDS[examples >= _MANY]


def _spread(inputs: Inputs, targets: Sequence[np.ndarray], count: int) -> np.ndarray:
    """So many rows: those that say most about the targets; of as good ones, some of each answer."""
    missing = np.array([sum(answer is None for answer in row["answers"]) for row in inputs.rows])
    most = np.partition(missing, count - 1)[count - 1]
    surely, maybe = np.flatnonzero(missing < most), np.flatnonzero(missing == most)
    picked = strata.some([target[maybe] for target in targets], count - len(surely))
    return np.sort(np.concatenate([surely, maybe[picked]]))


def choose(
    chooser: Chooser, *, may_be_last: bool, may_be_cut: bool
) -> tuple[Candidate, list[Candidate], str]:
    """The candidate to take, all that were tried, and why it is that one, in words.

    First the last block alone or all of them: both cost the same pass, so that the last has to be
    better by more than a standard error. (Where it only had to be no worse by that, after Breiman
    et al. 1984, accuracy gained half as much over seven settings of four sets; and what is the best
    of many depths by cross-validation is so by chance.) Then from the top: blocks whose taps the
    head does no better with are left out, and the network is cut off below them.

    Few examples cannot use as many features as many examples can: where only some of them choose,
    doubt speaks against the cut, too.
    """
    names = list(chooser.widths)
    blocks = list(dict.fromkeys(name.partition("/")[0] for name in names))
    last = chooser.try_out([names[-1]])
    tried = [last]
    strengths = [near(path.strength) for path in last.paths]
    if len(plain(names)) > 1:
        tried.append(chooser.try_out(plain(names), strengths))
    if len(names) > len(plain(names)):
        tried.append(chooser.try_out(names, strengths))
    best = min(tried[1:] or tried, key=lambda candidate: candidate.loss)
    more, error = last.worse_than(best)
    chosen = last if may_be_last and more < -error else best
    why = _why(best, last)
    left = 1
    while may_be_cut and left < len(blocks):
        kept = [n for n in chosen.taps if n.partition("/")[0] in blocks[:-left]]
        if not kept:
            break
        cut = chooser.try_out(kept, strengths)
        tried.append(cut)
        more, error = cut.worse_than(chosen)
        if more > (-error if chooser.are_some else 0.0):
            break
        why = f"the head is no worse without the last {left} blocks, so the network ends below them"
        chosen, left = cut, 2 * left
    return chosen, tried, why


def plain(names: Sequence[str]) -> list[str]:
    """The taps that every block has."""
    return [name for name in names if "/" not in name]


def near(strength: float) -> list[float]:
    """Those that are tried near that of the last layer: what one means depends on no giant."""
    return [each for each in linear.STRENGTHS if 0.3 < each / strength < 3.3]


def _why(best: Candidate, last: Candidate) -> str:
    """What was found of how far down the taps are to go."""
    if best is last:
        return "there is nothing below the last layer"
    more, error = last.worse_than(best)
    way = "greater" if more > 0 else "less"
    noise = " within noise" if abs(more) <= error else ""
    return (
        f"the loss of the last layer alone is {way} than that of {len(best.taps)} taps{noise}, by "
        f"{abs(more):.4f} ± {error:.4f} on the same examples"
    )


def questions_of(
    features: Features,
    learning: Learning,
    parts: Sequence[Inputs],
    rows: Sequence[np.ndarray],
) -> tuple[Question, ...]:
    """For each target what is asked of some rows of each part."""
    targets = features.model.targets
    answers = [wanted(inputs, targets) for inputs in parts]
    there = [told(inputs, targets) for inputs in parts]
    found = []
    for number, (target, columns) in enumerate(slices(targets)):
        task, own = task_of(target), learning.section(target)
        truth = np.concatenate([a[r, columns] for a, r in zip(answers, rows, strict=True)])
        present = np.concatenate([t[r, number] for t, r in zip(there, rows, strict=True)])
        weights = task.weights(own, truth) * (present > 0)
        found.append(Question(truth, weights, task.activation, task.slope(own, truth)))
    return tuple(found)


def figures_of(chooser: Chooser, chosen: Candidate) -> dict[str, float]:
    """What is watched, of answers that were given by heads that had not seen the examples."""
    found = {"cv_loss": chosen.loss}
    for target, question, path in zip(
        chooser.targets, chooser.questions, chosen.paths, strict=True
    ):
        there = question.weights > 0
        for watched in task_of(target).watched(target.space):
            values = watched.of_each(question.targets[there], path.said[there])
            mean = float(keras.ops.convert_to_numpy(values).mean()) if there.any() else 0.0
            found[f"cv_{target.named(watched.name)}"] = mean
    return found


def held_out(chooser: Chooser, chosen: Candidate) -> Iterator[dict[str, Any]]:
    """A row an example: its answers, and what heads said of it that had not seen it."""
    outputs = np.concatenate([path.said for path in chosen.paths], axis=1)
    for answers, row in zip(chooser.answers, outputs, strict=True):
        yield {"answers": answers, "outputs": row.tolist()}


def told_of(candidate: Candidate, tried: list[Candidate], chooser: Chooser) -> dict[str, Any]:
    best = min(tried, key=lambda other: other.loss)
    worse, error = candidate.worse_than(best)
    return {
        "taps": list(candidate.taps),
        "features": candidate.width,
        "strengths": [path.strength for path in candidate.paths],
        "worse_by": worse,
        "standard_error": error,
        **figures_of(chooser, candidate),
    }


def named(chosen: Candidate, features: Features) -> str:
    """Which taps they are, for a person."""
    if chosen.taps == tuple(features.taps)[-1:]:
        return "the last layer"
    top = next(reversed(features.taps)).partition("/")[0]
    below = "" if chosen.taps[-1].partition("/")[0] == top else f", up to {chosen.taps[-1]}"
    return f"{len(chosen.taps)} of {len(features.taps)} taps{below}"
