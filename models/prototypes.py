"""A head made of class means: it makes do with one example of each, and trains nothing.

Features are standardized and become unit vectors (SimpleShot's CL2N: Wang et al. 2019,
arXiv:1911.04623, who take off the mean alone; with a deviation each, though no feature blown up,
photographs, digits and spoken ones did better with 1, 2, 5 and 20 examples a class). Each class is
the mean of its own, drawn to the mean of all by so many examples as serve best (nearest shrunken
centroids: Tibshirani et al. 2002, PNAS 99:6567), and what is nearer is more probable (prototypical
networks: Snell et al. 2017, arXiv:1703.05175).

How near is told by what all classes vary in together, which counts less than what they do not: a
covariance that is drawn to that of a ball (regularized discriminant analysis: Friedman 1989, JASA
84:165; of frozen networks: FeCAM, Goswami et al. 2023, arXiv:2309.14062). With 20 pictures of each
of ten digits that made 0.91 of 0.81. It is a sum over examples, as the means are: leaving one out
is a subtraction, so that all of it is chosen by leaving each out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.linear import Fit, activated

# Examples' worth of the mean of all that is mixed into each class's; how much of a ball there is in
# what all vary in together (the mean square of a unit vector is 1); and what distances count, times
# what they are on the whole.
_SHRINKS = (0.0, 0.3, 1.0, 3.0)
_BALLS = (np.inf, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_SHARPNESS = tuple(np.geomspace(1.0, 128.0, 22).tolist())
# Where no class has two examples, nothing can be left out.
_USUAL = (0.3, 0.03, 8.0)
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
class Axes:
    """What examples vary in.

    Attributes:
        directions: (features, axes), of length 1.
        variances: (axes,), the mean square of unit vectors along each.
    """

    directions: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, weights: np.ndarray) -> Axes:
        """Of (examples, features), each counting by (examples,) `weights`."""
        known = weights > 0
        rows = vectors[known] * np.sqrt(weights[known] / weights.sum())[:, None]
        few = len(rows) < rows.shape[1]
        variances, found = np.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
        kept = variances > variances[-1] * 1e-9
        variances, found = variances[kept], found[:, kept]
        return cls(rows.T @ found / np.sqrt(variances) if few else found, variances)

    def counts(self, ball: float) -> np.ndarray:
        """(axes,): how much a distance along each counts; the same along all others is 1."""
        if np.isinf(ball):
            return np.ones(len(self.variances))
        return np.asarray(1.0 / (1.0 + self.variances / ball))

    def on_the_whole(self, ball: float) -> float:
        """By how much distances are less than without."""
        return float((self.counts(ball) * self.variances).sum() / self.variances.sum())


@dataclass(frozen=True)
class Prototypes:
    """A head of class means.

    Attributes:
        shrink: how many examples' worth of the mean of all is in each class's.
        ball: what is added to the variance along each axis; without end where all count alike.
        sharpness: what less half the squared distance to a mean is multiplied by to be a logit.
        said: (examples, classes), what means said of each example that was not in them.
    """

    statistics: Statistics
    axes: Axes
    shrink: float
    ball: float
    sharpness: float
    said: np.ndarray

    def linear(self) -> Fit:
        """The same of unit vectors: how long they are tells nothing of the class."""
        centers = self.statistics.centers(self.shrink) @ self.axes.directions
        weighed = centers * self.axes.counts(self.ball)
        bias = -0.5 * (weighed * centers).sum(axis=1)
        kernel = self.axes.directions @ weighed.T
        return Fit(self.sharpness * kernel, self.sharpness * bias, "softmax")


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
    """How far to shrink, how round to be, and how sharp, by leaving each example out.

    Args:
        vectors: (examples, features), the unit vectors that `statistics` are of.
        shares: (examples, classes), how much each counts in its class, 0 in the others.
    """
    axes = Axes.of(vectors, shares.sum(axis=1))
    asked = shares @ statistics.counts - np.square(shares).sum(axis=1) > _LEAST
    left_out = _LeftOut.of(statistics, axes, vectors, shares)
    best: tuple[float, float, float, float] = (np.inf, *_USUAL)
    place = len(_SHARPNESS) // 2
    for ball in _BALLS if asked.any() else ():
        for shrink in _SHRINKS:
            sums = left_out(shrink, ball)[asked] / axes.on_the_whole(ball)
            place, loss = _sharpest(sums, shares[asked], place)
            best = min(best, (loss, shrink, ball, _SHARPNESS[place]))
    _, shrink, ball, sharpness = best
    sharpness /= axes.on_the_whole(ball)
    said = activated(sharpness * left_out(shrink, ball), "softmax")
    return Prototypes(statistics, axes, shrink, ball, sharpness, said)


@dataclass(frozen=True)
class _LeftOut:
    """Examples, each asked of what the others alone say, along the axes of all.

    Attributes:
        places: (examples, axes), of their unit vectors.
        shares: (examples, classes).
    """

    statistics: Statistics
    axes: Axes
    places: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(
        cls, statistics: Statistics, axes: Axes, vectors: np.ndarray, shares: np.ndarray
    ) -> _LeftOut:
        return cls(statistics, axes, vectors @ axes.directions, shares)

    def __call__(self, shrink: float, ball: float) -> np.ndarray:
        """(examples, classes): less half the squared distance to means that it is not in, by a
        covariance that it is not in; but for what is the same for all classes."""
        counts, own, share = self.axes.counts(ball), *self._own
        weighed = self.places * counts
        centers = self.statistics.centers(shrink) @ self.axes.directions
        near = weighed @ centers.T
        far = np.tile((centers * counts * centers).sum(axis=1), (len(near), 1))
        length = (weighed * self.places).sum(axis=1)
        # Its own class's mean is (a · mean - b · example): what is left where it is taken out.
        rows = np.flatnonzero(share > 0)
        left = self.statistics.counts[own] - share + shrink
        some = left > _LEAST
        a = np.where(some, (left + share) / np.maximum(left, _LEAST), 0.0)
        b = np.where(some, share / np.maximum(left, _LEAST), 0.0)
        mine, its = near[rows, own[rows]], far[rows, own[rows]]
        a, b, h = a[rows], b[rows], length[rows]
        near[rows, own[rows]] = a * mine - b * h
        far[rows, own[rows]] = a * a * its - 2 * a * b * mine + b * b * h
        # And the covariance without it is one of rank one less (Sherman & Morrison 1950).
        part = share / max(float(self.shares.sum()), _LEAST) / ball
        more = (part / np.maximum(1.0 - part * length, _LEAST))[:, None]
        return np.asarray(near * (1.0 + more * length[:, None]) - 0.5 * (far + more * near**2))

    @property
    def _own(self) -> tuple[np.ndarray, np.ndarray]:
        """(examples,): the class of each, and how much it counts there."""
        return self.shares.argmax(axis=1), self.shares.max(axis=1)


def _sharpest(sums: np.ndarray, shares: np.ndarray, place: int) -> tuple[int, float]:
    """Which sharpness has the least loss, which is convex in it, looked for from `place` on."""
    found = {place: _loss(_SHARPNESS[place] * sums, shares)}
    while True:
        for near in (place - 1, place + 1):
            if 0 <= near < len(_SHARPNESS) and near not in found:
                found[near] = _loss(_SHARPNESS[near] * sums, shares)
        least = min(found, key=lambda each: found[each])
        if least == place:
            return place, found[place]
        place = least


def _loss(sums: np.ndarray, shares: np.ndarray) -> float:
    """The weighted mean of -log of the probability of what is right."""
    right = (activated(sums, "softmax") * (shares > 0)).sum(axis=1)
    weights = shares.sum(axis=1)
    return float(-(weights * np.log(np.maximum(right, 1e-30))).sum() / weights.sum())
