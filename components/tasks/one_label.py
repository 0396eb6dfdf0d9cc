"""One label for each example: it is of one class, and of no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from etils import epy
from pydantic import Field

from components.section import Section
from components.tasks import moved, questioned, tallies
from components.tasks.answers import by_label, check_labels, imbalance
from components.tasks.protocol import (
    UNKNOWN,
    Answer,
    Column,
    Figure,
    Kind,
    Said,
    Scores,
    Space,
    Target,
)
from components.tasks.reliability import reliability, sets
from models.mistakes import Mistake

if TYPE_CHECKING:
    from models.objectives import PerExample, Watched
    from models.slopes import Slope

with epy.lazy_imports():
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from sklearn import metrics

    from models import calibration, conformal, minibatches, objectives, slopes

figures: tuple[Figure, ...] = (
    Figure(
        "accuracy",
        "the share of right answers",
        words="It gave the right answer for {} examples that it had never seen",
    ),
    Figure("log_loss", "the mean of -log of the right answer's probability", False, "none"),
    Figure("least_recall", "the recall of the class that has the least"),
    Figure("macro_f1", "the mean over classes of F1"),
)
monitors: tuple[str, ...] = ("accuracy",)
activation: Literal["softmax", "sigmoid", "linear"] = "softmax"
many = False
required = True
template = "one_label.html.jinja"


# No probability is nearer to 0 where its logarithm is taken.
_LEAST = 1e-30


class OneLabelConfig(Section):
    """What is minimized where each example has one label."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes."""
    focal_gamma: float = Field(0.0, ge=0, le=10)
    """Focal loss: how much less what is right already counts; 0 for plain cross-entropy."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: rare classes count as much in sum as frequent ones."""


config: type[Section] = OneLabelConfig


def parse(value: Any, column: Column) -> Answer:
    del column
    if isinstance(value, list | dict):
        raise ValueError("has several labels: say --task several_labels")
    return ("" if value is None else str(value)).strip() or None


def check_column(answers: Sequence[Answer], where: str) -> None:
    if len(answers) < 3 or len(set(answers)) < len(answers):
        return
    if all(_is_number(answer) for answer in answers):
        hint = ": say --task number if a number is to be predicted"
    else:
        hint = ""
    raise Mistake(
        f"data.path must repeat its labels, got {where} all different ({len(answers)} rows){hint}"
    )


def space(answers: Sequence[Answer], known: Space) -> Space:
    labels = known.labels or tuple(sorted({answer for answer in answers if answer is not None}))
    return known.model_copy(update={"labels": labels})


def accepts(answer: Answer, space: Space) -> bool:
    return answer is None or answer in space.labels


def strata(answers: Sequence[Answer]) -> list[tuple[str, ...]]:
    return [() if answer is None else (answer,) for answer in answers]


def keys(answer: Answer) -> list[Any]:
    return [answer]


def check(target: Target, counts: Mapping[str, Counter[Any]], before: Space | None) -> list[str]:
    labels = target.space.labels
    if len(labels) < 2:
        raise Mistake(f"data.path must have at least two classes, got {', '.join(labels)!r} alone")
    for split in ("train", "test"):
        for label in labels:
            if not counts[split][label]:
                raise Mistake(
                    f"data.path must have examples of every class in {split}, got none of {label!r}"
                )
    check_labels(target, before)
    return imbalance(labels, counts["train"])


def summary(space: Space, counts: Mapping[str, Counter[Any]]) -> dict[str, Any]:
    return by_label(space, counts)


def feature(space: Space) -> Any:
    return tfds.features.ClassLabel(names=list(space.labels))


def stored(answer: Answer) -> Any:
    return -1 if answer is None else answer


def of_tfds(feature: Any, value: Any) -> Answer:
    number = int(value)
    return feature.names[number] if number >= 0 else None


def labels_of_tfds(feature: Any) -> tuple[str, ...]:
    if not isinstance(feature, tfds.features.ClassLabel):
        raise ValueError("must have classes for labels")
    return tuple(sorted(feature.names))


def units(space: Space) -> int:
    return len(space.labels)


def targets(answers: Sequence[Answer], space: Space) -> np.ndarray:
    number = {label: position for position, label in enumerate(space.labels)}
    found = minibatches.one_hot(
        np.array([number.get(answer, 0) for answer in answers], np.int64), len(space.labels)
    )
    found[[answer is None for answer in answers]] = 0.0
    return found


def watched(space: Space) -> tuple[Watched, ...]:
    del space
    return (objectives.ACCURACY,)


def judged(own: Any) -> Section:
    """Cross-entropy: a smoothed label or a focal loss is lower or higher whatever is said."""
    found: Section = own.model_copy(update={"label_smoothing": 0.0, "focal_gamma": 0.0})
    return found


def loss(own: Any, targets: np.ndarray) -> PerExample:
    del targets
    return objectives.classification(
        label_smoothing=own.label_smoothing, focal_gamma=own.focal_gamma
    )


def slope(own: Any, targets: np.ndarray) -> Slope:
    del targets
    return slopes.classification(label_smoothing=own.label_smoothing, focal_gamma=own.focal_gamma)


def weights(own: Any, targets: np.ndarray) -> np.ndarray:
    if own.class_weights == "none":
        return np.ones(len(targets), np.float32)
    found: np.ndarray = targets @ objectives.balanced_class_weights(targets)
    return found


def carried(before: Space, now: Space) -> tuple[float, float]:
    del before, now
    return 1.0, 0.0


def settle(
    space: Space, answers: Sequence[Answer], outputs: np.ndarray, coverage: float = 0.0
) -> Space:
    """One temperature (Guo et al. 2017, arXiv:1706.04599), and how far prediction sets reach."""
    told = [row for row, answer in enumerate(answers) if answer in space.labels]
    truth = np.array([space.labels.index(answers[row]) for row in told], np.int64)
    if not told:
        return space
    found: dict[str, Any] = {
        "temperatures": (calibration.temperature_of_classes(outputs[told], truth),)
    }
    if coverage:
        reach = conformal.reach_of_classes(outputs[told], truth, coverage)
        found |= {"coverage": coverage, "reach": reach}
    return space.model_copy(update=found)


def _temperature(space: Space) -> float:
    return space.temperatures[0] if space.temperatures else 1.0


def answer(outputs: Any, valid: Any, space: Space) -> dict[str, Any]:
    """`probabilities` (batch, classes), and `labels` (batch,), the most probable class.

    And where sets were settled, `prediction_set` (batch, classes), which labels it may be.
    """
    sets = {}
    if space.coverage:  # By what is not calibrated: so it was settled.
        inside = (outputs >= 1.0 - space.reach) & valid[:, tf.newaxis]
        sets = {"prediction_set": inside}
    if _temperature(space) != 1.0:
        outputs = tf.nn.softmax(tf.math.log(outputs + _LEAST) / _temperature(space))
    named = tf.gather(tf.constant(space.labels), tf.argmax(outputs, axis=-1))
    return {
        "probabilities": tf.where(valid[:, tf.newaxis], outputs, 0.0),
        "labels": tf.where(valid, named, ""),
        **sets,
    }


def abstain(served: dict[str, Any], unknown: Any) -> dict[str, Any]:
    """`unknown` for a label; probabilities and sets are left as they are."""
    return served | {"labels": tf.where(unknown, UNKNOWN, served["labels"])}


def calibrated(outputs: np.ndarray, space: Space) -> np.ndarray:
    return calibration.scaled(outputs, _temperature(space))


def served(outputs: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    return {"probabilities": calibrated(outputs, space)}


def rows(served: Mapping[str, np.ndarray], space: Space) -> list[Said]:
    found: list[Said] = [
        {"label": label.decode(), "probabilities": [float(p) for p in probabilities]}
        for label, probabilities in zip(served["labels"], served["probabilities"], strict=True)
    ]
    if space.coverage:
        for said, inside in zip(found, served["prediction_set"], strict=True):
            said["prediction_set"] = [space.labels[at] for at in np.flatnonzero(inside)]
    return found


def columns(space: Space) -> list[tuple[str, Kind]]:
    sets: list[tuple[str, Kind]] = [("prediction_set", "texts")] if space.coverage else []
    return [("label", "text"), ("probabilities", "numbers"), *sets]


def short(said: Said, space: Space) -> list[str]:
    """The most probable labels, three at most, each with its probability."""
    pairs = sorted(zip(said["probabilities"], space.labels, strict=True), key=lambda pair: -pair[0])
    return [cell for share, label in pairs[:3] for cell in (label, f"{share:.4f}")]


def evidence(served: Mapping[str, np.ndarray]) -> np.ndarray:
    probabilities = served["probabilities"]
    found: np.ndarray = probabilities[:, int(np.argmax(probabilities[0]))]
    return found


def score(answers: Sequence[Answer], said: Sequence[Said], model: Space, space: Space) -> Scores:
    """Classes that the model does not know have probability 0; what it calls invalid is wrong."""
    known, named = list(space.labels), [each["label"] for each in said]
    number = {label: position for position, label in enumerate(known)}
    columns = [model.labels.index(label) if label in model.labels else None for label in known]
    probabilities = np.array(
        [[0.0 if c is None else each["probabilities"][c] for c in columns] for each in said]
    )
    # Rows that sum to 0 (invalid, or all on unknown classes) become uniform.
    probabilities += 1e-7
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        answers, named, labels=known, zero_division=0
    )
    all_labels = [*known, *sorted({label for label in named if label not in known})]
    confusion = metrics.confusion_matrix(answers, named, labels=all_labels)
    truth = np.array([number[answer] for answer in answers])
    sure, likeliest = probabilities.max(axis=1), probabilities.argmax(axis=1)
    both, exact = list(zip(answers, said, strict=True)), np.eye(len(known))[truth]
    given = np.array([number.get(label, len(known)) for label in named])
    return Scores(
        tally=tallies.of_classes(truth, given, probabilities),
        trivial=float(np.max(support) / len(answers)),
        trivially="the most frequent class",
        details={
            "classes": {
                label: {
                    "precision": float(p),
                    "recall": float(r),
                    "f1": float(f),
                    "support": int(n),
                }
                for label, p, r, f, n in zip(known, precision, recall, f1, support, strict=True)
            },
            "confusion": {"labels": all_labels, "counts": confusion.tolist()},
            "reliability": _reliability(truth, probabilities, _temperature(model)),
            "moved": moved.answered(sure, likeliest == truth)
            | {"labels": moved.of_labels(known, probabilities, exact)},
            "sets": sets(
                model,
                [answer in each.get("prediction_set", ()) for answer, each in both],
                [len(each.get("prediction_set", ())) for _, each in both],
            ),
        },
    )


def _reliability(
    truth: np.ndarray, probabilities: np.ndarray, temperature: float
) -> dict[str, Any]:
    """Of the class that is given."""
    said = probabilities.argmax(axis=1)
    before = calibration.scaled(probabilities, 1 / temperature)
    exact = np.eye(probabilities.shape[1])[truth]
    return reliability(
        probabilities.max(axis=1),
        said == truth,
        before=before.max(axis=1),
        loss=float(calibration.surprise(probabilities, truth).mean()),
        loss_before=float(calibration.surprise(before, truth).mean()),
        brier=float(np.square(probabilities - exact).sum(axis=1).mean()),
    )


def mistakes(
    answers: Sequence[Answer], said: Sequence[Said], space: Space
) -> list[tuple[int, str, str, str]]:
    """What it was most sure of and wrong about."""
    del space
    wrong = [i for i, answer in enumerate(answers) if said[i]["label"] != answer]
    sure = {i: max(said[i]["probabilities"]) for i in wrong}
    return [
        (i, answers[i], said[i]["label"] or "invalid", f"{100 * sure[i]:.1f} %")
        for i in sorted(wrong, key=lambda i: -sure[i])
    ]


doubts = questioned.of_classes
twins = questioned.twins_of_classes


def card(space: Space) -> str:
    return f"one of {', '.join(space.labels)}, and how probable each is"


def files(space: Space) -> dict[str, str]:
    return {"labels.txt": "".join(f"{label}\n" for label in space.labels)}


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
