"""A number for each example (regression)."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from etils import epy
from pydantic import Field

from components.section import Section
from components.tasks import questioned, tallies
from components.tasks.protocol import (
    Answer,
    Column,
    Figure,
    Kind,
    Said,
    Scores,
    Space,
    Target,
)
from components.tasks.reliability import sets
from models.mistakes import Mistake

if TYPE_CHECKING:
    from models.objectives import PerExample, Watched
    from models.slopes import Slope

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from models import conformal, objectives, slopes

figures: tuple[Figure, ...] = (
    Figure(
        "mae",
        "the mean absolute error",
        False,
        "answer",
        words="For examples that it had never seen it was off by {} on average",
    ),
    Figure("rmse", "the root of the mean squared error", False, "answer"),
    Figure("r2", "the share of the variance that is explained", True, "none"),
    Figure("spearman", "the correlation of the ranks", True, "none"),
)
monitors: tuple[str, ...] = ("mae",)
activation: Literal["softmax", "sigmoid", "linear"] = "linear"
many = False
required = False
template = "number.html.jinja"
# Splits keep the proportions of so many spans, each with as many examples.
SPANS = 10


class NumberConfig(Section):
    """What is minimized where each example has a number, in standard deviations of the answers."""

    loss: Literal["mse", "huber"] = "mse"
    """`mse`, the squared error; `huber`: linear from `delta` on, so that outliers pull less."""
    delta: float = Field(1.0, gt=0)
    """Of `huber`."""


config: type[Section] = NumberConfig


def parse(value: Any, column: Column) -> Answer:
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"has {text!r} in {column.columns[0]!r}, which is no number")
    return number


def check_column(answers: Sequence[Answer], where: str) -> None:
    known = {answer for answer in answers if answer is not None}
    if not known:
        raise Mistake(f"data.path must have numbers, got {where} without them")
    if len(known) == 1 and len(answers) > 1:
        raise Mistake(
            f"data.path must have numbers that differ, got {where} {known.pop():g} in all rows"
        )


def space(answers: Sequence[Answer], known: Space) -> Space:
    numbers = np.array([answer for answer in answers if answer is not None], np.float64)
    if not len(numbers):
        return known
    changes = {"mean": float(numbers.mean()), "deviation": float(numbers.std()) or 1.0}
    return known.model_copy(update=changes)


def accepts(answer: Answer, space: Space) -> bool:
    del answer, space
    return True


def strata(answers: Sequence[Answer]) -> list[tuple[str, ...]]:
    """Spans with as many examples each."""
    numbers = np.array([math.nan if answer is None else answer for answer in answers])
    known = np.sort(numbers[~np.isnan(numbers)])
    spans = min(SPANS, max(1, len(known) // 6))
    edges = known[[len(known) * i // spans for i in range(1, spans)]] if len(known) else known
    return [
        () if math.isnan(number) else (str(int(np.searchsorted(edges, number, side="right"))),)
        for number in numbers.tolist()
    ]


def keys(answer: Answer) -> list[Any]:
    return [answer]


def check(target: Target, counts: Mapping[str, Counter[Any]], before: Space | None) -> list[str]:
    del before
    for split in ("train", "test"):
        if not _known(counts[split]):
            raise Mistake(f"data.path must have numbers in {split}, got none for {target.title}")
    train = set(_known(counts["train"]))
    if len(train) == 1:
        raise Mistake(
            f"data.path must have numbers that differ in train, got {train.pop():g} alone"
        )
    least, most = min(train), max(train)
    beyond = sum(n for x, n in _known(counts["test"]).items() if not least <= x <= most)
    if not beyond:
        return []
    return [
        f"{beyond} test examples have a number beyond those to train on, {least:g} to {most:g}."
    ]


def summary(space: Space, counts: Mapping[str, Counter[Any]]) -> dict[str, Any]:
    """Split → how many there are, the least, the mean and the greatest."""
    del space
    found = {}
    for split, counted in counts.items():
        if known := _known(counted):
            total = known.total()
            mean = sum(x * n for x, n in known.items()) / total
            found[split] = {"count": total, "least": min(known), "mean": mean, "most": max(known)}
    return found


def _known(counted: Counter[Any]) -> Counter[float]:
    return Counter({float(x): n for x, n in counted.items() if x is not None})


def feature(space: Space) -> Any:
    del space
    # As bytes: TFDS would round it to 32 bits.
    return tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")


def stored(answer: Answer) -> Any:
    return math.nan if answer is None else answer


def of_tfds(feature: Any, value: Any) -> Answer:
    del feature
    return None if math.isnan(float(value)) else float(value)


def labels_of_tfds(feature: Any) -> tuple[str, ...]:
    kind = getattr(feature, "np_dtype", None)
    is_number = kind is not None and np.issubdtype(kind, np.number)
    if isinstance(feature, tfds.features.ClassLabel) or not is_number or tuple(feature.shape or ()):
        raise ValueError("must have a number for an answer")
    return ()


def units(space: Space) -> int:
    del space
    return 1


def targets(answers: Sequence[Answer], space: Space) -> np.ndarray:
    """In standard deviations from the mean."""
    numbers = [space.mean if answer is None else answer for answer in answers]
    found = (np.array(numbers, np.float64) - space.mean) / space.deviation
    return found.astype(np.float32)[:, None]


def watched(space: Space) -> tuple[Watched, ...]:
    """The mean absolute error, in the answers' own unit."""

    def error(truth: Any, said: Any) -> Any:
        return space.deviation * keras.ops.abs(truth[:, 0] - said[:, 0])

    return (objectives.Watched("mae", error, more_is_better=False),)


def judged(own: Any) -> Section:
    """What outliers count is a matter of what is wanted."""
    found: Section = own
    return found


def loss(own: Any, targets: np.ndarray) -> PerExample:
    del targets
    return objectives.huber(own.delta) if own.loss == "huber" else objectives.squared


def slope(own: Any, targets: np.ndarray) -> Slope:
    del targets
    return slopes.huber(own.delta) if own.loss == "huber" else slopes.squared


def weights(own: Any, targets: np.ndarray) -> np.ndarray:
    del own
    return np.ones(len(targets), np.float32)


def carried(before: Space, now: Space) -> tuple[float, float]:
    return before.deviation / now.deviation, (before.mean - now.mean) / now.deviation


def settle(
    space: Space, answers: Sequence[Answer], outputs: np.ndarray, coverage: float = 0.0
) -> Space:
    """How far off it is, the root of the mean squared error; and how far intervals reach."""
    told = [row for row, answer in enumerate(answers) if answer is not None]
    if not told:
        return space
    truth = np.array([answers[row] for row in told], np.float64)
    off = truth - (outputs[told, 0] * space.deviation + space.mean)
    reach = conformal.reach_of_numbers(off, coverage) if coverage else math.inf
    # Of too few examples nothing is promised.
    promised = {"coverage": coverage, "reach": reach} if math.isfinite(reach) else {}
    return space.model_copy(update={"error": float(np.sqrt(np.mean(np.square(off)))), **promised})


def answer(outputs: Any, valid: Any, space: Space) -> dict[str, Any]:
    """`value` (batch,), in the answers' own unit, and `deviation` (batch,), how far off it is.

    The root of the mean squared error on examples that the model was not fitted to. Where
    intervals were settled, `low` and `high` (batch,) are their ends. All are NaN where the example
    is not valid.
    """
    value = outputs[:, 0] * space.deviation + space.mean
    found = {
        "value": value,
        "deviation": tf.fill(tf.shape(value), tf.cast(space.error, value.dtype)),
    }
    if space.coverage:
        found |= {"low": value - space.reach, "high": value + space.reach}
    return {name: tf.where(valid, each, float("nan")) for name, each in found.items()}


def abstain(served: dict[str, Any], unknown: Any) -> dict[str, Any]:
    """NaN for a number, and for the ends of its interval."""
    return {name: tf.where(unknown, float("nan"), value) for name, value in served.items()}


def calibrated(outputs: np.ndarray, space: Space) -> np.ndarray:
    del space
    return outputs


def served(outputs: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    return {"value": outputs[:, 0] * space.deviation + space.mean}


def rows(served: Mapping[str, np.ndarray], space: Space) -> list[Said]:
    """None where the example is not valid."""
    # A model of before does not say how far off it is.
    served = {"deviation": np.full(len(served["value"]), np.nan), **served}
    names = [name for name, _ in columns(space)]
    return [
        dict(zip(names, map(_known_or_none, each), strict=True))
        for each in zip(*(served[name].tolist() for name in names), strict=True)
    ]


def columns(space: Space) -> list[tuple[str, Kind]]:
    ends: list[tuple[str, Kind]] = [("low", "number"), ("high", "number")] if space.coverage else []
    return [("value", "number"), ("deviation", "number"), *ends]


def _known_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def short(said: Said, space: Space) -> list[str]:
    """The number, and how far off it is."""
    del space
    if said["value"] is None:
        return [""]
    off = said.get("deviation")
    return [f"{said['value']:.6g}", *([f"± {off:.3g}"] if off else [])]


def evidence(served: Mapping[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = served["value"]
    return found


def score(answers: Sequence[Answer], said: Sequence[Said], model: Space, space: Space) -> Scores:
    """What is invalid is taken for the mean, which is what is known without the example."""
    truth = np.array(answers, np.float64)
    given = np.array([_or_mean(each, space) for each in said])
    # What is invalid, or not answered, has no interval.
    ends = [
        (answer, float(each["low"]), float(each["high"]))
        for answer, each in zip(answers, said, strict=True)
        if each.get("low") is not None
    ]
    spans = np.linspace(truth.min(), truth.max(), 6)
    return Scores(
        tally=tallies.of_numbers(truth, given),
        trivial=float(np.mean(np.abs(truth - space.mean))),
        trivially=f"the training mean, {space.mean:.4g}",
        details={
            "sets": sets(
                model,
                [low <= answer <= high for answer, low, high in ends],
                [high - low for _, low, high in ends],
            ),
            "points": [[float(t), float(g)] for t, g in zip(truth, given, strict=True)][:500],
            "spans": [
                {
                    "from": float(low),
                    "to": float(high),
                    "count": int(inside.sum()),
                    "mae": float(np.mean(np.abs(truth - given)[inside])) if inside.any() else None,
                    "bias": float(np.mean((given - truth)[inside])) if inside.any() else None,
                }
                for low, high in itertools.pairwise(spans)
                for inside in [(truth >= low) & ((truth < high) | (high == spans[-1]))]
            ],
        },
    )


def mistakes(
    answers: Sequence[Answer], said: Sequence[Said], space: Space
) -> list[tuple[int, str, str, str]]:
    """Those that are farthest off."""
    given = [_or_mean(each, space) for each in said]
    off = [abs(answer - value) for answer, value in zip(answers, given, strict=True)]
    return [
        (i, f"{answers[i]:.4g}", short(said[i], space)[0] or "invalid", f"off by {off[i]:.4g}")
        for i in sorted(range(len(off)), key=lambda i: -off[i])
    ]


def _or_mean(said: Said, space: Space) -> float:
    return space.mean if said["value"] is None else float(said["value"])


doubts = questioned.of_numbers
twins = questioned.no_twins


def card(space: Space) -> str:
    known = f"mean {space.mean:.4g} and standard deviation {space.deviation:.4g}"
    return f"a number; those it was trained on have {known}"


def files(space: Space) -> dict[str, str]:
    del space
    return {}
