"""Answers: how they are split, learned, judged and stored, without a flow around them."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import metrics

from components.examples import placing
from components.examples.source import Source
from components.tasks import number, several_labels
from components.tasks.protocol import Column, Space, Target
from models import heads, objectives

LABELS = ("blue", "green", "red")

# ---- splits


def wanted(targets: tuple[Target, ...], **missing: float) -> placing.Wanted:
    columns = tuple(Column(name=t.name, task=t.task) for t in targets)
    source = Source("x", "image", "digest", columns, targets, {"": 1})
    return placing.Wanted(source, targets, missing, None, False, None)


def test_splits_keep_the_proportions_of_several_labels() -> None:
    rng = np.random.default_rng(0)
    share = {"common": 0.5, "usual": 0.2, "rare": 0.03}
    members: list[placing.Member] = [
        (f"{i:05}", "", [[label for label, p in share.items() if rng.random() < p]], "")
        for i in range(2000)
    ]
    target = Target(task="several_labels", space=Space(labels=tuple(share)))
    want = wanted((target,), test=0.2, validation=0.1)
    placed = {same: split for same, (_, split) in placing.assign(members, want)}
    assert len(placed) == 2000
    for label in share:
        counts = Counter(placed[same] for same, _, (labels,), _ in members if label in labels)
        total = counts.total()
        assert counts["test"] / total == pytest.approx(0.2, abs=0.02), label
        assert counts["validation"] / total == pytest.approx(0.08, abs=0.02), label
    again = {same: split for same, (_, split) in placing.assign(members[::-1], want)}
    assert again == placed
    fewer = {same: split for same, (_, split) in placing.assign(members[:1980], want)}
    assert sum(placed[same] != split for same, split in fewer.items()) < 60


def test_splits_keep_the_spans_of_a_number() -> None:
    members: list[placing.Member] = [
        (f"{i * 7919 % 1000:05}", "", [float(i)], "") for i in range(1000)
    ]
    want = wanted((Target(task="number"),), test=0.2, validation=0.1)
    placed = {same: split for same, (_, split) in placing.assign(members, want)}
    test = [value for same, _, (value,), _ in members if placed[same] == "test"]
    assert len(test) == 200
    assert np.histogram(test, bins=10, range=(0, 1000))[0].tolist() == [20] * 10


# ---- the tasks themselves


def test_a_threshold_is_where_f1_is_greatest() -> None:
    space = Space(labels=("a", "b"))
    outputs = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.3], [0.2, 0.4]], np.float32)
    settled = several_labels.settle(space, [["a"], ["a"], ["a"], []], outputs)
    assert settled.thresholds == pytest.approx((0.25, several_labels.USUAL_THRESHOLD))


def test_a_number_comes_back_in_its_own_unit() -> None:
    answers = [10.0, 20.0, None, 60.0]
    space = number.space(answers, Space())
    assert space.mean == 30.0
    assert space.deviation == pytest.approx(np.std([10, 20, 60]))
    outputs = number.targets(answers, space)
    value = number.served(outputs, space)["value"]
    np.testing.assert_allclose(value, [10, 20, 30, 60], rtol=1e-6)


def test_missing_answers_count_for_nothing_and_parts_add_up() -> None:
    parts = (
        objectives.Part(2, objectives.classification(), (), 1.0, "a"),
        objectives.Part(1, objectives.squared, (), 0.5, "b"),
    )
    loss = objectives.Objective(parts).loss(keras.Sequential([keras.Input((3,))]))
    truth = np.array([[1, 0, 2.0], [0, 0, 1.0]], np.float32)
    said = np.array([[0.5, 0.5, 0.0], [0.1, 0.9, 0.0]], np.float32)
    weights = np.array([[2.0, 1.0], [0.0, 1.0]], np.float32)
    expected = -np.log(0.5) + 0.5 * (4.0 + 1.0) / 2
    assert float(loss(truth, said, sample_weight=weights)) == pytest.approx(expected, rel=1e-5)


def test_uncertainty_is_learned() -> None:
    """Of two targets one is noise: its weight falls."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype("float32")
    y = np.stack([x[:, 0], rng.normal(0, 3, 256)], axis=1).astype("float32")
    head = heads.build_head(
        features=4,
        outputs=[("a", 1, "linear"), ("b", 1, "linear")],
        normalize=False,
        balance=True,
    )
    parts = tuple(objectives.Part(1, objectives.squared, (), 1.0, name) for name in ("a", "b"))
    objective = objectives.Objective(parts, by_uncertainty=True)
    head.compile(keras.optimizers.Adam(0.05), loss=objective.loss(head), jit_compile=False)
    for _ in range(250):
        head.train_on_batch(x, y, sample_weight=np.ones((256, 2), np.float32))
    easy, noise = np.asarray(objectives.find_balance(head))
    assert easy < 0 < noise == pytest.approx(np.log(2 * 9), abs=0.4)


def test_a_single_label_is_judged_like_any_other() -> None:
    """scikit-learn takes one column for two classes."""
    space = Space(labels=("a",), thresholds=(0.5,))
    answers = [["a"], [], [], [], ["a"]]
    said = [{"labels": ["a"], "probabilities": [0.9]}]
    said += [{"labels": [], "probabilities": [0.1]} for _ in range(4)]
    scores = several_labels.score(answers, said, space, space)
    row = scores.details["labels"]["a"]
    assert (row["precision"], row["recall"], row["support"]) == (1.0, 0.5, 2)
    assert scores.figures["macro_f1"] == pytest.approx(2 / 3)
    assert scores.figures["micro_f1"] == pytest.approx(2 / 3)


def test_figures_of_several_labels_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    space = Space(labels=LABELS, thresholds=(0.5, 0.5, 0.5))
    truth, scores = rng.random((40, 3)) < 0.4, rng.random((40, 3))
    answers = [[x for x, there in zip(LABELS, row, strict=True) if there] for row in truth]
    said = [
        {
            "labels": [x for x, p in zip(LABELS, row, strict=True) if p > 0.5],
            "probabilities": row.tolist(),
        }
        for row in scores
    ]
    found = several_labels.score(answers, said, space, space).figures
    named = scores > 0.5
    for figure, expected in (
        ("macro_f1", metrics.f1_score(truth, named, average="macro")),
        ("micro_f1", metrics.f1_score(truth, named, average="micro")),
        ("auroc", metrics.roc_auc_score(truth, scores)),
        ("average_precision", metrics.average_precision_score(truth, scores)),
        ("exact_match", metrics.accuracy_score(truth, named)),
    ):
        assert found[figure] == pytest.approx(expected), figure


def test_what_is_empty_and_what_is_missing() -> None:
    cell = Column(task="several_labels", separator="|")
    assert several_labels.parse("", cell) == []
    assert several_labels.parse([], cell) == []
    assert several_labels.parse(None, cell) is None
    assert several_labels.parse({"a": "", "b": None}, cell) is None
    assert several_labels.parse({"a": "1", "b": ""}, cell) == ["a"]
    with pytest.raises(ValueError, match="which is no list of labels"):
        several_labels.parse(["b", None], cell)


def test_a_number_keeps_all_its_digits_in_a_dataset() -> None:
    features = tfds.features.FeaturesDict({"x": number.feature(Space())})
    written = features.serialize_example({"x": 1700000001.25})
    read = features.deserialize_example(written)["x"].numpy()
    assert number.of_tfds(features["x"], read) == 1700000001.25


def test_a_head_goes_on_with_another_mean_and_deviation() -> None:
    """Outputs for the old space mean the same as carried ones for the new one."""
    old, new = Space(mean=10.0, deviation=2.0), Space(mean=50.0, deviation=8.0)
    scale, shift = number.carried(old, new)
    before = np.array([[-1.0], [0.5]])
    value = number.served(before, old)["value"]
    np.testing.assert_allclose(number.served(before * scale + shift, new)["value"], value)
