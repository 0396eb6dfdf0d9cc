"""Any number of labels for each example, or none: each is there or not, whatever the others."""

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
from components.tasks.reliability import reliability
from models.mistakes import Mistake

if TYPE_CHECKING:
    from models.objectives import PerExample, Watched
    from models.slopes import Slope

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from sklearn import metrics

    from models import calibration, objectives, slopes

figures: tuple[Figure, ...] = (
    Figure(
        "auroc",
        "the mean over labels of the area under the ROC curve",
        words="Shown an example that has a label and one that has not, neither seen before, it "
        "knew which is which {} times",
    ),
    Figure("average_precision", "the mean over labels of the average precision"),
    Figure("macro_f1", "the mean over labels of F1, at each label's threshold"),
    Figure("micro_f1", "F1 over all labels of all examples together"),
    Figure("exact_match", "the share of examples all of whose labels are right"),
)
monitors: tuple[str, ...] = ("label_accuracy",)
activation: Literal["softmax", "sigmoid", "linear"] = "sigmoid"
many = True
required = False
template = "several_labels.html.jinja"
# Of a label that no validation example has.
USUAL_THRESHOLD = 0.5
_YES, _NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no", ""}
# No probability is nearer to 0 or 1 where its logit is taken.
_NEAREST = 1e-7
# Instead of the numbers of labels, where an answer is missing.
_MISSING = [-1]


class SeveralLabelsConfig(Section):
    """What is minimized where each example has any number of labels."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """How far each label is moved from 0 and 1 towards one half."""
    focal_gamma: float = Field(0.0, ge=0, le=10)
    """Focal loss: how much less what is right already counts; 0 for binary cross-entropy."""
    positive_weights: Literal["none", "balanced"] = "none"
    """`balanced`: a label counts as much in sum where it is there as where it is not."""


config: type[Section] = SeveralLabelsConfig


def parse(value: Any, column: Column) -> Answer:
    """A list, a cell with a separator, or {column: 0 or 1}; an empty cell means that there is none.

    What is not there at all is missing: null, or 0/1 columns all of which are empty.
    """
    if isinstance(value, dict):
        if all(cell is None or not str(cell).strip() for cell in value.values()):
            return None
        return sorted(name for name, cell in value.items() if _is_yes(name, cell))
    if value is None:
        return None
    found = value if isinstance(value, list) else [str(value)]
    if any(label is None or isinstance(label, list | dict) for label in found):
        raise ValueError(f"has {value!r}, which is no list of labels")
    if not isinstance(value, list) and column.separator:
        found = str(value).split(column.separator)
    return sorted({str(label).strip() for label in found} - {""})


def _is_yes(name: str, cell: Any) -> bool:
    text = str(cell if cell is not None else "").strip().lower()
    if text not in _YES | _NO:
        raise ValueError(f"has {cell!r} in {name!r}, which is neither 0 nor 1")
    return text in _YES


def check_column(answers: Sequence[Answer], where: str) -> None:
    if not any(answers):
        raise Mistake(f"data.path must have labels, got {where} empty in all rows")
    if {label for answer in answers for label in answer or ()} <= {"0", "1"}:
        raise Mistake(
            f"data.path must have labels, or a column of 0 and 1 for each of several, got {where} "
            f"0 or 1 alone: where there is one question, say --task one_label"
        )


def space(answers: Sequence[Answer], known: Space) -> Space:
    found = {label for answer in answers if answer is not None for label in answer}
    return known.model_copy(update={"labels": known.labels or tuple(sorted(found))})


def accepts(answer: Answer, space: Space) -> bool:
    del answer, space
    return True


def strata(answers: Sequence[Answer]) -> list[tuple[str, ...]]:
    return [() if answer is None else tuple(answer) or ("",) for answer in answers]


def keys(answer: Answer) -> list[Any]:
    return [None] if answer is None else list(answer) or [""]


def check(target: Target, counts: Mapping[str, Counter[Any]], before: Space | None) -> list[str]:
    labels = target.space.labels
    for label in labels:
        if not counts["train"][label]:
            raise Mistake(
                f"data.path must have examples of every label in train, got none with {label!r}"
            )
    check_labels(target, before)
    unseen = [label for label in labels if not counts["test"][label]]
    said = imbalance(labels, counts["train"])
    if unseen:
        said.append(f"No test example has {', '.join(unseen)}: nothing can be said of it.")
    return said


def summary(space: Space, counts: Mapping[str, Counter[Any]]) -> dict[str, Any]:
    return by_label(space, counts)


def feature(space: Space) -> Any:
    return tfds.features.Sequence(tfds.features.ClassLabel(names=list(space.labels)))


def stored(answer: Answer) -> Any:
    return _MISSING if answer is None else answer


def of_tfds(feature: Any, value: Any) -> Answer:
    if list(value) == _MISSING:
        return None
    return sorted(feature.feature.names[int(number)] for number in value)


def labels_of_tfds(feature: Any) -> tuple[str, ...]:
    inner = getattr(feature, "feature", None)
    if not isinstance(inner, tfds.features.ClassLabel):
        raise ValueError("must have a sequence of classes for labels")
    return tuple(sorted(inner.names))


def units(space: Space) -> int:
    return len(space.labels)


def targets(answers: Sequence[Answer], space: Space) -> np.ndarray:
    at = {label: position for position, label in enumerate(space.labels)}
    found = np.zeros((len(answers), len(space.labels)), np.float32)
    for row, answer in enumerate(answers):
        found[row, [at[label] for label in answer or () if label in at]] = 1.0
    return found


def watched(space: Space) -> tuple[Watched, ...]:
    del space
    return (objectives.Watched("label_accuracy", _right_labels, more_is_better=True),)


def _right_labels(truth: Any, said: Any) -> Any:
    right = keras.ops.equal(truth > 0.5, said > USUAL_THRESHOLD)
    return keras.ops.mean(keras.ops.cast(right, "float32"), axis=-1)


def judged(own: Any) -> Section:
    """Cross-entropy: a smoothed label or a focal loss is lower or higher whatever is said."""
    found: Section = own.model_copy(update={"label_smoothing": 0.0, "focal_gamma": 0.0})
    return found


def loss(own: Any, targets: np.ndarray) -> PerExample:
    return objectives.multi_label(**_of_loss(own, targets))


def slope(own: Any, targets: np.ndarray) -> Slope:
    return slopes.multi_label(**_of_loss(own, targets))


def _of_loss(own: Any, targets: np.ndarray) -> dict[str, Any]:
    positive = None
    if own.positive_weights == "balanced":
        there = targets.sum(axis=0)
        positive = (len(targets) - there) / np.maximum(there, 1.0)
    return {
        "label_smoothing": own.label_smoothing,
        "focal_gamma": own.focal_gamma,
        "positive_weights": positive,
    }


def weights(own: Any, targets: np.ndarray) -> np.ndarray:
    del own
    return np.ones(len(targets), np.float32)


def carried(before: Space, now: Space) -> tuple[float, float]:
    del before, now
    return 1.0, 0.0


def settle(
    space: Space, answers: Sequence[Answer], outputs: np.ndarray, coverage: float = 0.0
) -> Space:
    """Each label's temperature, and its threshold: the one with the greatest F1.

    There are no prediction sets: which labels are given is a set already.
    """
    del coverage
    told = [row for row, answer in enumerate(answers) if answer is not None]
    truth, outputs = targets([answers[row] for row in told], space), outputs[told]
    temperatures = tuple(map(calibration.temperature_of_label, outputs.T, truth.T))
    scaled = calibration.scaled_each(outputs, np.array(temperatures))
    chosen = tuple(_threshold(truth[:, i], scaled[:, i]) for i in range(len(space.labels)))
    return space.model_copy(update={"temperatures": temperatures, "thresholds": chosen})


def _temperatures(space: Space) -> np.ndarray:
    return np.array(space.temperatures or (1.0,) * len(space.labels))


def _threshold(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """In the middle between the last example that gets the label, and the first that does not."""
    if not truth.any():
        return USUAL_THRESHOLD
    order = np.argsort(-probabilities, kind="stable")
    ranked, right = probabilities[order].astype("float64"), np.cumsum(truth[order])
    f1 = 2 * right / (np.arange(1, len(truth) + 1) + truth.sum())
    below = np.append(ranked[1:], 0.0)
    f1[ranked == below] = -1.0  # What is equally probable cannot be told apart.
    at = int(np.argmax(f1))
    return float((ranked[at] + below[at]) / 2)


def answer(outputs: Any, valid: Any, space: Space) -> dict[str, Any]:
    """`probabilities` (batch, labels), and `labels` (batch, labels): the given ones first.

    The most probable label comes first, and what is left is empty: TensorFlow Serving gives no
    ragged tensors, so that the rows are padded.
    """
    if any(temperature != 1.0 for temperature in space.temperatures):
        near = tf.clip_by_value(outputs, _NEAREST, 1 - _NEAREST)
        logits = tf.math.log(near) - tf.math.log1p(-near)
        outputs = tf.sigmoid(logits / tf.constant(space.temperatures))
    given = (outputs >= tf.constant(space.thresholds)) & valid[:, tf.newaxis]
    first = tf.argsort(tf.where(given, outputs, -1.0), axis=-1, direction="DESCENDING", stable=True)
    named = tf.gather(tf.constant(space.labels), first)
    return {
        "probabilities": tf.where(valid[:, tf.newaxis], outputs, 0.0),
        "labels": tf.where(tf.gather(given, first, batch_dims=1), named, ""),
    }


def abstain(served: dict[str, Any], unknown: Any) -> dict[str, Any]:
    """`unknown` for the only label; probabilities are left as they are."""
    places = tf.range(tf.shape(served["labels"])[1])
    alone = tf.where(places == 0, UNKNOWN, "")
    return served | {"labels": tf.where(unknown[:, tf.newaxis], alone, served["labels"])}


def calibrated(outputs: np.ndarray, space: Space) -> np.ndarray:
    return calibration.scaled_each(outputs, _temperatures(space))


def served(outputs: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    return {"probabilities": calibrated(outputs, space)}


def rows(served: Mapping[str, np.ndarray], space: Space) -> list[Said]:
    del space
    return [
        {
            "labels": [label.decode() for label in labels if label],
            "probabilities": [float(p) for p in probabilities],
        }
        for labels, probabilities in zip(served["labels"], served["probabilities"], strict=True)
    ]


def columns(space: Space) -> list[tuple[str, Kind]]:
    del space
    return [("labels", "texts"), ("probabilities", "numbers")]


def short(said: Said, space: Space) -> list[str]:
    """The labels that are given, and the greatest probability."""
    del space
    return [", ".join(said["labels"]) or "none", f"{max(said['probabilities'], default=0.0):.4f}"]


def evidence(served: Mapping[str, np.ndarray]) -> np.ndarray:
    probabilities = served["probabilities"]
    found: np.ndarray = probabilities[:, int(np.argmax(probabilities[0]))]
    return found


def score(answers: Sequence[Answer], said: Sequence[Said], model: Space, space: Space) -> Scores:
    """Labels that the model does not know have probability 0.

    A label that all test examples have, or none, has no AUROC, and is left out of its mean.
    """
    truth = targets(answers, space)
    named = targets([each["labels"] for each in said], space)
    probabilities = np.zeros_like(truth)
    for column, label in enumerate(space.labels):
        if label in model.labels:
            at = model.labels.index(label)
            probabilities[:, column] = [each["probabilities"][at] for each in said]
    right = (truth * named).sum(axis=0)
    said_so, there = named.sum(axis=0), truth.sum(axis=0)
    precision, recall = (right / np.maximum(n, 1.0) for n in (said_so, there))
    f1 = 2 * right / np.maximum(said_so + there, 1.0)
    each: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(space.labels):
        both = 0 < truth[:, column].sum() < len(truth)
        pair = truth[:, column], probabilities[:, column]
        each[label] = {
            "auroc": float(metrics.roc_auc_score(*pair)) if both else None,
            "average_precision": float(metrics.average_precision_score(*pair)) if both else None,
            "precision": float(precision[column]),
            "recall": float(recall[column]),
            "f1": float(f1[column]),
            "threshold": model.thresholds[model.labels.index(label)]
            if label in model.labels and model.thresholds
            else None,
            "support": int(there[column]),
        }
    return Scores(
        tally=tallies.of_labels(truth, named, probabilities),
        trivial=0.5,
        trivially="the same probabilities",
        details={
            "labels": each,
            "reliability": _reliability(truth, probabilities, model, space),
            "moved": {
                "answered": None,
                "labels": moved.of_labels(space.labels, probabilities, truth),
            },
        },
    )


def _reliability(
    truth: np.ndarray, probabilities: np.ndarray, model: Space, space: Space
) -> dict[str, Any]:
    """Of all labels of all examples together."""
    known = dict(zip(model.labels, _temperatures(model), strict=True))
    temperatures = np.array([known.get(label, 1.0) for label in space.labels])
    before = calibration.scaled_each(probabilities, 1 / temperatures)
    return reliability(
        probabilities.ravel(),
        truth.ravel() > 0,
        before=before.ravel(),
        loss=float(calibration.surprise_each(probabilities, truth).mean()),
        loss_before=float(calibration.surprise_each(before, truth).mean()),
        brier=float(np.square(probabilities - truth).mean()),
    )


def mistakes(
    answers: Sequence[Answer], said: Sequence[Said], space: Space
) -> list[tuple[int, str, str, str]]:
    """Those whose labels are least probable, by the model, as a whole."""
    truth = targets(answers, space)
    given = np.array([each["probabilities"] for each in said]).reshape(truth.shape)
    right = np.where(truth > 0, given, 1 - given)
    surprise = -np.log(np.maximum(right, 1e-7)).sum(axis=1)
    wrong = [i for i, each in enumerate(said) if sorted(each["labels"]) != sorted(answers[i])]
    return [
        (
            i,
            ", ".join(answers[i]) or "none",
            ", ".join(said[i]["labels"]) or "none",
            f"{100 * np.exp(-surprise[i]):.1f} % for the truth",
        )
        for i in sorted(wrong, key=lambda i: -surprise[i])
    ]


doubts = questioned.of_labels
twins = questioned.no_twins


def card(space: Space) -> str:
    return f"any of {', '.join(space.labels)}, or none, and how probable each is"


def files(space: Space) -> dict[str, str]:
    thresholds = space.thresholds or (USUAL_THRESHOLD,) * len(space.labels)
    lines = zip(space.labels, thresholds, strict=True)
    return {
        "labels.txt": "".join(f"{label}\n" for label in space.labels),
        "thresholds.tsv": "".join(f"{label}\t{value:.6f}\n" for label, value in lines),
    }
