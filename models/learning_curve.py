"""How an error falls with the number of examples, and so how many more a better one needs.

No family of curves is best everywhere (Viering & Loog 2021, arXiv:2103.10948), and some reach too
low where others stay too high (Mahmood et al. 2022, arXiv:2207.01725). So several are fitted to
what was measured, over and over with the examples drawn again, and all together tell one band.
Nobody knows what comes beyond `REACH` times as many examples as there were.

Fitted are the largest sizes alone, all families counting the same: of SST-2, spoken digits and
scikit-learn's, asked on a quarter about all of it, 58 of 60 bands of 90 % held what it came to.
With all six sizes, families weighed by how well they fit, it were 48.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# So many times as many examples as were learned from can be spoken of.
REACH = 4.0
# What the band holds, with these shares of all curves below, at and above it.
_BAND = (0.05, 0.5, 0.95)
_DRAWS = 200
# So many of the largest sizes are fitted: what few examples do says little of what many will.
_FITTED = 4
# No error was measured more exactly than this.
_LEAST = 1e-4

# (sizes,), the largest of them that was measured → shapes that fall towards a limit, (sizes,) each.
_Shapes = Callable[[np.ndarray, float], list[np.ndarray]]


@dataclass(frozen=True)
class _Family:
    """Curves `floor + height · shape(n)`.

    Attributes:
        shapes: of all steepnesses that are tried.
        limit: what they fall towards; None where they fall for ever, and the error is cut off at 0.
    """

    shapes: _Shapes
    limit: float | None


def _powers(sizes: np.ndarray, top: float) -> list[np.ndarray]:
    return [(sizes / top) ** -steep for steep in np.linspace(0.1, 2.0, 24)]


def _logarithm(sizes: np.ndarray, top: float) -> list[np.ndarray]:
    return [-np.log(sizes / top)]


def _arctan(sizes: np.ndarray, top: float) -> list[np.ndarray]:
    return [-np.arctan(sizes / scale) for scale in np.geomspace(top / 50, 4 * top, 24)]


def _stretched(sizes: np.ndarray, top: float) -> list[np.ndarray]:
    return [np.exp(-steep * np.sqrt(sizes / top)) for steep in np.geomspace(0.1, 10.0, 24)]


FAMILIES = (
    _Family(_powers, 0.0),
    _Family(_logarithm, None),
    _Family(_arctan, -np.pi / 2),
    _Family(_stretched, 0.0),
)


@dataclass(frozen=True)
class Needed:
    """How many examples a goal needs in all: `middle`, or anything from `low` to `high`.

    Infinite where it is not reached within `REACH`.
    """

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Errors with fewer examples, and what they may come to with more.

    Attributes:
        sizes: (sizes,), how many examples heads were fitted to, ascending.
        errors: for each size (draws, examples): the error on each example, of a head that had not
            seen it, for each draw of those that were learned from.
    """

    sizes: np.ndarray
    errors: tuple[np.ndarray, ...]

    @property
    def values(self) -> np.ndarray:
        """(sizes,) of mean errors."""
        return np.array([each.mean() for each in self.errors])

    @property
    def farthest(self) -> float:
        """The most examples that can be spoken of."""
        return float(REACH * self.sizes[-1])

    def band(self, sizes: Sequence[float]) -> np.ndarray:
        """(3, sizes): from where to where the error may be, 90 of 100 times, the middle between.

        Raises:
            ValueError: a size is beyond `farthest`.
        """
        if max(sizes) > self.farthest * (1 + 1e-9):
            raise ValueError(f"sizes must be at most {self.farthest:.0f}, got {max(sizes):.0f}")
        found: np.ndarray = np.quantile(self._curves(np.asarray(sizes, float)), _BAND, axis=0)
        return found

    def measured(self) -> np.ndarray:
        """(3, sizes): the same of what was measured, as the examples are drawn again."""
        found: np.ndarray = np.quantile(self._resampled, _BAND, axis=0)
        return found

    @property
    def half(self) -> int:
        """The number of the size that is about half of the largest."""
        return int(np.argmin(np.abs(np.log(2 * self.sizes[:-1] / self.sizes[-1]))))

    @property
    def still_falls(self) -> bool:
        """Whether the error fell with the last doubling, beyond noise."""
        fell = self._resampled[:, self.half] - self._resampled[:, -1]
        return bool(np.quantile(fell, _BAND[0]) > 0)

    def falls(self, before: float, after: float) -> np.ndarray:
        """(3,): by how much the error falls from so many examples to so many; as `band` has it."""
        curves = self._curves(np.array([before, after]))
        found: np.ndarray = np.quantile(curves[:, 0] - curves[:, 1], _BAND)
        return found

    def needed(self, error: float) -> Needed:
        """How many examples an error like this, or less, needs."""
        grid = np.geomspace(self.sizes[-1], self.farthest, 120)
        reached = self._curves(grid) <= error
        first = np.where(reached.any(axis=1), grid[reached.argmax(axis=1)], np.inf)
        return Needed(*np.quantile(first, _BAND, method="nearest").tolist())

    @cached_property
    def _resampled(self) -> np.ndarray:
        """(draws, sizes) of errors with examples, and what was learned from, drawn again."""
        dice = np.random.default_rng(0)
        count = self.errors[0].shape[1]
        weights = dice.multinomial(count, np.full(count, 1 / count), size=_DRAWS) / count
        found = np.empty((_DRAWS, len(self.sizes)))
        for number, errors in enumerate(self.errors):
            each = weights @ errors.T
            chosen = dice.integers(0, len(errors), each.shape)
            found[:, number] = np.take_along_axis(each, chosen, axis=1).mean(axis=1)
        return found

    @cached_property
    def _precision(self) -> np.ndarray:
        """(sizes,), one over the square of what each error is off by: less with more examples."""
        spread = [
            each.mean(axis=1).std(ddof=1) / np.sqrt(len(each)) * np.sqrt(size)
            for each, size in zip(self.errors, self.sizes, strict=True)
            if len(each) > 1
        ]
        usual = float(np.mean(spread)) if spread else 1.0
        precision: np.ndarray = np.maximum(usual / np.sqrt(self.sizes), _LEAST) ** -2.0
        return precision

    def _curves(self, sizes: np.ndarray) -> np.ndarray:
        """(families × draws, sizes) of errors."""
        return np.concatenate([self._fitted(family, sizes) for family in FAMILIES])

    def _fitted(self, family: _Family, sizes: np.ndarray) -> np.ndarray:
        """(draws, sizes) of the errors of the curve that fits each draw best.

        Of every steepness, floor and height are found by least squares, neither below 0.
        """
        known = self.sizes[-_FITTED:].astype(float)
        errors, weights = self._resampled[:, -_FITTED:], self._precision[-_FITTED:]
        best = np.full(len(errors), np.inf)
        found = np.zeros((len(errors), len(sizes)))
        middle = (errors * weights).sum(axis=1) / weights.sum()
        for shape in family.shapes(np.concatenate([known, sizes]), known[-1]):
            own, at = shape[: len(known)], shape[len(known) :]
            mean = (weights * own).sum() / weights.sum()
            around = weights * (own - mean)
            height = np.maximum((errors - middle[:, None]) @ around / (around @ own), 0.0)
            floor = middle - height * mean
            if family.limit is not None:
                # Where it would end below 0, it ends at 0.
                above = own - family.limit
                alone = np.maximum(errors @ (weights * above) / (weights @ above**2), 0.0)
                below = floor + height * family.limit < 0
                height = np.where(below, alone, height)
                floor = np.where(below, -alone * family.limit, floor)
            misfit = np.square(errors - floor[:, None] - height[:, None] * own) @ weights
            better = misfit < best
            best = np.where(better, misfit, best)
            told = np.maximum(floor[:, None] + height[:, None] * at, 0.0)
            found = np.where(better[:, None], told, found)
        return found
