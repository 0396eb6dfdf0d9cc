"""A head made of class means: it makes do with one example of each, and trains nothing.

Features are standardized and become unit vectors (SimpleShot's CL2N: Wang et al. 2019,
arXiv:1911.04623, who take off the mean alone; with a deviation each, though no feature blown up,
photographs, digits and spoken ones did better with 1, 2, 5 and 20 examples a class). Each class is
the mean of its own, drawn to the mean of all by so many examples as serve best (nearest shrunken
centroids: Tibshirani et al. 2002, PNAS 99:6567), and what is nearer is more probable (prototypical
networks: Snell et al. 2017, arXiv:1703.05175). Leaving an example out of a mean is a subtraction,
so that all of it is chosen by leaving each out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.linear import Fit, activated

# Examples' worth of the mean of all that is mixed into each class's; what distances count.
_SHRINKS = (0.0, 0.3, 1.0, 3.0)
_SHARPNESS = tuple(np.geomspace(1.0, 128.0, 22).tolist())
# Where no class has two examples, nothing can be left out.
_USUAL = (0.3, 8.0)
_LEAST = 1e-12


@dataclass(frozen=True)
class Statistics:
    """All that is kept of examples: classes can be added to it, and taken away.

    Attributes:
        mean: (features,), and …
        deviation: … (features,), what standardizes them.
        sums: (classes, features), of the unit vectors of each class.
        counts: (classes,), of examples.
    """

    mean: np.ndarray
    deviation: np.ndarray
    sums: np.ndarray
    counts: np.ndarray

    def units(self, features: np.ndarray) -> np.ndarray:
        """(examples, features) → unit vectors; one without a length stays so."""
        found = (np.asarray(features, np.float64) - self.mean) / self.deviation
        length = np.sqrt(np.square(found).sum(axis=1, keepdims=True))
        return np.asarray(found / np.maximum(length, _LEAST))

    @property
    def whole(self) -> np.ndarray:
        """(features,), the mean of all."""
        found: np.ndarray = self.sums.sum(axis=0) / max(float(self.counts.sum()), _LEAST)
        return found

    def centers(self, shrink: float) -> np.ndarray:
        """(classes, features): the mean of each class, drawn to that of all."""
        much = np.maximum(self.counts + shrink, _LEAST)
        found: np.ndarray = (self.sums + shrink * self.whole) / much[:, None]
        return found


@dataclass(frozen=True)
class Prototypes:
    """A head of class means.

    Attributes:
        shrink: how many examples' worth of the mean of all is in each class's.
        sharpness: what less half the squared distance to a mean is multiplied by to be a logit.
        said: (examples, classes), what means said of each example that was not in them.
    """

    statistics: Statistics
    shrink: float
    sharpness: float
    said: np.ndarray

    def linear(self) -> Fit:
        """The same of unit vectors: how long they are tells nothing of the class."""
        centers = self.statistics.centers(self.shrink)
        bias = -0.5 * np.square(centers).sum(axis=1)
        return Fit(self.sharpness * centers.T, self.sharpness * bias, "softmax")


def fit(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Prototypes:
    """
    Args:
        features: (examples, features).
        targets: (examples, classes), one of which is 1.
        weights: (examples,), how much each counts; 0 where it has no answer.
    """
    some = np.asarray(features[weights > 0], np.float64)
    deviation = some.std(axis=0)
    deviation = deviation + max(float(deviation.mean()), _LEAST)
    shares = targets * weights[:, None]
    empty = Statistics(some.mean(axis=0), deviation, np.zeros(1), shares.sum(axis=0))
    vectors = empty.units(features)
    statistics = Statistics(empty.mean, deviation, shares.T @ vectors, empty.counts)
    return chosen(statistics, vectors, shares)


def beginning(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Fit:
    """A linear head that says what class means say, to be trained on from there.

    Args:
        features: (examples, features), normalized; their directions are left as they are.
    """
    known = weights > 0
    length = float(np.sqrt(np.square(features[known]).sum(axis=1).mean())) or 1.0
    vectors = np.asarray(features, np.float64) / length
    shares = targets * weights[:, None]
    nothing, one = np.zeros(features.shape[1]), np.full(features.shape[1], length)
    statistics = Statistics(nothing, one, shares.T @ vectors, shares.sum(axis=0))
    found = chosen(statistics, vectors, shares).linear()
    return Fit(found.kernel / length, found.bias, found.activation)


def chosen(statistics: Statistics, vectors: np.ndarray, shares: np.ndarray) -> Prototypes:
    """How far to shrink, and how sharp to be, by leaving each example out of its class's mean.

    Args:
        vectors: (examples, features), the unit vectors that `statistics` are of.
        shares: (examples, classes), how much each counts in its class, 0 in the others.
    """
    others = shares @ statistics.counts - np.square(shares).sum(axis=1)
    asked = others > _LEAST
    best: tuple[float, float, float] = (np.inf, *_USUAL)
    for shrink in _SHRINKS if asked.any() else ():
        sums = _left_out(statistics, vectors, shares, shrink)[asked]
        for sharpness in _SHARPNESS:
            best = min(best, (_loss(sharpness * sums, shares[asked]), shrink, sharpness))
    _, shrink, sharpness = best
    sums = sharpness * _left_out(statistics, vectors, shares, shrink)
    return Prototypes(statistics, shrink, sharpness, activated(sums, "softmax"))


def _left_out(
    statistics: Statistics, vectors: np.ndarray, shares: np.ndarray, shrink: float
) -> np.ndarray:
    """(examples, classes): less half the squared distance to means that the example is not in.

    But for what is the same for all classes.
    """
    centers = statistics.centers(shrink)
    found = vectors @ centers.T - 0.5 * np.square(centers).sum(axis=1)
    own, share = shares.argmax(axis=1), shares.max(axis=1)
    much = statistics.counts[own] - share + shrink
    sums = statistics.sums[own] - share[:, None] * vectors + shrink * statistics.whole
    means = np.where(much[:, None] > _LEAST, sums / np.maximum(much, _LEAST)[:, None], 0.0)
    near = (vectors * means).sum(axis=1) - 0.5 * np.square(means).sum(axis=1)
    answered = share > 0
    found[np.flatnonzero(answered), own[answered]] = near[answered]
    return np.asarray(found)


def _loss(sums: np.ndarray, shares: np.ndarray) -> float:
    """The weighted mean of -log of the probability of what is right."""
    right = (activated(sums, "softmax") * (shares > 0)).sum(axis=1)
    weights = shares.sum(axis=1)
    return float(-(weights * np.log(np.maximum(right, 1e-30))).sum() / weights.sum())
