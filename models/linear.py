"""Linear heads fitted to stored features exactly: NumPy and SciPy, no steps, no epochs.

What is minimized is the weighted mean of a loss that is convex in the outputs, plus half the
strength times the squared weights (ridge; the intercepts are free). Features are standardized and
divided by the square root of their number, so that a strength means the same for any giant.

In the coordinates of the features' principal axes the curvature is nearly diagonal and known, so
that L-BFGS (Liu & Nocedal 1989) needs some twenty evaluations whatever the strength. Of few
examples the axes come from the kernel matrix, whose size is theirs and not the features'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from etils import epy

from models.designs import Chunks, Dense, Design, Scale, Streamed, axes
from models.slopes import Slope

with epy.lazy_imports():
    import scipy.linalg
    import scipy.optimize
    import threadpoolctl

Activation = Literal["softmax", "sigmoid", "linear"]

# Strengths that are tried, the strongest first: half a power of ten apart.
STRENGTHS = tuple(10.0 ** (-power / 2) for power in range(3, 13))
# The axes of more examples or features than this take too long to find.
MOST_AXES = 3072
_ITERATIONS = 500
# With more outputs than this, every evaluation takes long.
MANY = 50
# No answer is taken to be rarer than this.
_LEAST = 1e-3
# Standardized features of so many bytes are held in memory.
IN_MEMORY = 512 << 20


@dataclass(frozen=True)
class Question:
    """One target of some examples.

    Attributes:
        targets: (examples, outputs).
        weights: (examples,), 0 where the answer is missing.
        activation: what makes outputs of the sums.
        slope: of the loss.
    """

    targets: np.ndarray
    weights: np.ndarray
    activation: Activation
    slope: Slope

    def of(self, rows: np.ndarray) -> Question:
        """The same of some of the examples."""
        return Question(self.targets[rows], self.weights[rows], self.activation, self.slope)

    def losses(self, said: np.ndarray) -> np.ndarray:
        """(examples,), not weighted."""
        return self.slope(self.targets, said)[0]


@dataclass(frozen=True)
class Fit:
    """A linear head for one target: `activation(features @ kernel + bias)`."""

    kernel: np.ndarray
    bias: np.ndarray
    activation: Activation

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return activated(features @ self.kernel + self.bias, self.activation)


def activated(sums: np.ndarray, activation: Activation) -> np.ndarray:
    """(examples, outputs) → the same of outputs."""
    if activation == "softmax":
        powers = np.exp(sums - sums.max(axis=1, keepdims=True))
        found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return found
    if activation == "sigmoid":
        tamed: np.ndarray = 0.5 * (1.0 + np.tanh(0.5 * sums))
        return tamed
    return sums


def _through(said: np.ndarray, slope: np.ndarray, activation: Activation) -> np.ndarray:
    """The slope in the outputs → that in the sums they are made of."""
    if activation == "softmax":
        weighed = said * slope
        found: np.ndarray = weighed - said * weighed.sum(axis=1, keepdims=True)
        return found
    return slope * said * (1.0 - said) if activation == "sigmoid" else slope


def solve(
    design: Design,
    question: Question,
    strength: float,
    start: Fit | None = None,
    *,
    tolerance: float = 1e-7,
) -> Fit:
    """The head that minimizes loss and strength, its kernel in the design's coordinates.

    Args:
        start: where to begin, such as the fit of a strength nearby.
        tolerance: the relative change of what is minimized at which it is found.
    """
    total = question.weights.sum() or 1.0  # Where nothing is asked, nothing is learned.
    shares = (question.weights / total)[:, None]
    usual, curved = _usual(question, shares)
    scale = 1.0 / np.sqrt(design.curvature[:, None] * curved + strength)
    steps = 1.0 / np.sqrt(curved)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel = scale * flat[: scale.size].reshape(scale.shape)
        bias = steps * flat[scale.size :]
        said = activated(design.dot(kernel) + bias, question.activation)
        losses, slope = question.slope(question.targets, said)
        steep = shares * _through(said, slope, question.activation)
        down = scale * (design.back(steep) + strength * kernel)
        loss = float(shares[:, 0] @ losses + 0.5 * strength * np.square(kernel).sum())
        return loss, np.concatenate([down.ravel(), steps * steep.sum(axis=0)])

    kernel, bias = (np.zeros(scale.shape), usual) if start is None else (start.kernel, start.bias)
    found = scipy.optimize.minimize(
        value,
        np.concatenate([(kernel / scale).ravel(), bias / steps]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "maxcor": 5, "ftol": tolerance, "gtol": 1e-6},
    )
    kernel = scale * found.x[: scale.size].reshape(scale.shape)
    return Fit(kernel, steps * found.x[scale.size :], question.activation)


def _usual(question: Question, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of heads that say the same of every example: (outputs,) the best intercepts, and how much
    the loss curves there in the sum of each output.

    Of 200 classes that are as frequent, the loss curves a fiftieth of what it does of two.
    """
    mean = (shares * question.targets).sum(axis=0)
    outputs = len(mean)
    if question.activation == "linear":
        return mean, np.full(outputs, 2.0 / outputs)
    mean = np.clip(mean, _LEAST, 1.0 - _LEAST)
    curved = mean * (1.0 - mean)
    if question.activation == "softmax":
        return np.log(mean), curved
    return np.log(mean / (1.0 - mean)), curved / outputs  # The loss is the mean over the outputs.


@dataclass(frozen=True)
class Path:
    """What was found by cross-validation.

    Attributes:
        strength: that with the least loss.
        said: (examples, outputs), what the heads that had not seen an example said of it.
        losses: (examples,) of that.
    """

    strength: float
    said: np.ndarray
    losses: np.ndarray

    def loss(self, weights: np.ndarray) -> float:
        """The weighted mean."""
        return float((self.losses * weights).sum() / max(weights.sum(), 1e-12))


def cross_validate(
    coordinates: np.ndarray,
    question: Question,
    folds: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    *,
    tolerance: float = 1e-6,
) -> Path:
    """Find a strength: each example is judged by heads that were fitted to the other folds.

    Strengths are tried from the strongest on, until two in a row were no better than the best.

    Args:
        coordinates: (examples, coordinates) of all.
        folds: (examples,), the number of the fold that each is in.
        tolerance: see `solve`; ten times that for many outputs, of which the loss is less sure.
    """
    if question.targets.shape[1] > MANY:
        tolerance *= 10
    parts = []
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds != fold)
        design = Dense.of(coordinates[inside])
        parts.append((np.flatnonzero(folds == fold), design, question.of(inside)))
    starts: list[Fit | None] = [None] * len(parts)
    best: Path | None = None
    lower, worse = np.inf, 0
    for strength in strengths:
        said = np.zeros(question.targets.shape)
        for number, (outside, design, inner) in enumerate(parts):
            fit = solve(design, inner, strength, starts[number], tolerance=tolerance)
            starts[number] = fit
            said[outside] = fit(coordinates[outside])
        path = Path(strength, said, question.losses(said))
        loss = path.loss(question.weights)
        if loss < lower:
            best, lower, worse = path, loss, 0
        else:
            worse += 1
        if worse == 2:
            break
    assert best is not None
    return best


def fit(
    chunks: Chunks, scale: Scale, questions: Sequence[Question], strengths: Sequence[float]
) -> list[Fit]:
    """The heads for all targets, for the features as they are.

    Args:
        chunks: of the features, as they are.
        questions: a target each, of all examples.
    """

    def standardized() -> Iterable[np.ndarray]:
        return (scale(chunk) for chunk in chunks())

    examples, features = len(questions[0].targets), len(scale.mean)
    held = list(standardized()) if 4 * examples * features <= IN_MEMORY else None
    again: Chunks = standardized if held is None else lambda: held
    narrow: np.ndarray | None = None
    design: Design
    if examples <= min(features, MOST_AXES):
        array = np.concatenate(list(again()))
        coordinates = axes(np.asarray(array @ array.T, np.float64))
        narrow = array.T @ (coordinates / np.square(coordinates).sum(axis=0))
        design = Dense.of(coordinates)
    elif features <= MOST_AXES:
        products = np.zeros((features, features))
        for chunk in again():
            products += chunk.T @ chunk
        values, narrow = scipy.linalg.eigh(products, overwrite_a=True, check_finite=False)
        if held is None:
            design = Streamed(again, np.maximum(values, 0.0) / examples, narrow)
        else:
            design = Dense.of(np.concatenate([c @ narrow.astype(np.float32) for c in held]))
    else:
        design = Streamed(again, np.full(features, 1.0 / features))
    found = []
    for question, strength in zip(questions, strengths, strict=True):
        own = solve(design, question, strength)
        kernel = own.kernel if narrow is None else narrow @ own.kernel
        found.append(_of_features_as_they_are(scale, Fit(kernel, own.bias, own.activation)))
    return found


def _of_features_as_they_are(scale: Scale, fit: Fit) -> Fit:
    """A head for standardized features → the same for the features as they are."""
    kernel = fit.kernel / (scale.deviation * np.sqrt(len(scale.mean)))[:, None]
    return Fit(kernel, fit.bias - scale.mean @ kernel, fit.activation)


def one_thread() -> Any:
    """A context in which NumPy and SciPy do not wait for each other's threads.

    Each has its own; where both are at work in turns, small products take ten times as long.
    """
    return threadpoolctl.threadpool_limits(1, "blas")
