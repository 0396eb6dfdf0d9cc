"""The training loop, and what it may move."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from models import freezing, heads, minibatches, objectives, optimization, training
from models.backbones import BACKBONES, build_backbone
from models.splitting import block_starts, split


def separable(examples: int, seed: int) -> minibatches.Data:
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % 2
    features = rng.normal(size=(examples, 4)).astype("float32")
    features[:, 0] += 3 * labels
    return minibatches.labelled(minibatches.one_hot(labels, 2), lambda rows, epoch: features[rows])


def inputs_of(data: minibatches.Data, rows: np.ndarray, epoch: int = 0) -> Any:
    return data.gather(rows, epoch)[0]


def targets_of(data: minibatches.Data) -> np.ndarray:
    return data.gather(np.arange(len(data)), 0)[1]


def new_head() -> keras.Model:
    return heads.build_head(
        features=4, outputs=[("probabilities", 2, "softmax")], normalize=False, seed=3
    )


def train(
    model: keras.Model, examples: minibatches.Data, validation: minibatches.Data, **changed: Any
) -> training.History:
    """`training.train`; what is not `changed` is what most tests want."""
    settings = {"learning_rate": 0.05, "warmup_steps": 0} | changed
    ours = ("learning_rate", "warmup_steps", "weight_decay", "clip_norm", "ema", "rates")
    epochs = changed.pop("epochs", 8)
    optimizer = optimization.build_optimizer(
        steps=epochs * examples.steps(8), **{key: settings[key] for key in ours if key in settings}
    )
    rest = {key: value for key, value in changed.items() if key not in ours}
    stopping = {key: rest.pop(key) for key in ("patience", "start_from_epoch") if key in rest}
    return training.train(
        model,
        examples,
        validation,
        optimizer=optimizer,
        objective=objectives.single(2),
        length=training.Length(epochs, 8, rest.pop("first_epoch", 0)),
        stopping=training.Stopping(**stopping),
        seed=0,
        **rest,
    )


def test_ends_with_the_weights_of_the_best_epoch() -> None:
    """Labels of the validation set are swapped, so that it gets worse from the first epoch on."""
    examples, validation = separable(40, 0), separable(20, 1)
    swapped = minibatches.labelled(
        targets_of(validation)[:, ::-1], lambda rows, epoch: inputs_of(validation, rows)
    )
    head = new_head()
    history = train(head, examples, swapped, patience=2)
    losses = [row["val_loss"] for row in history.epochs]
    assert history.best_epoch == int(np.argmin(losses)) == 0
    assert len(history.epochs) == 3
    assert training.evaluate(head, swapped, objectives.single(2), 8)["loss"] == pytest.approx(
        losses[0], rel=1e-6
    )


def test_metrics_are_those_of_all_examples_not_of_the_last_batch() -> None:
    examples, validation = separable(40, 0), separable(21, 1)
    head = new_head()
    history = train(head, examples, validation, epochs=1)
    predicted = np.asarray(head(inputs_of(validation, np.arange(21)), training=False)).argmax(1)
    accuracy = np.mean(predicted == targets_of(validation).argmax(1))
    assert history.epochs[0]["val_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("examples", [40, 21, 7, 1])
def test_uneven_batches_weigh_every_example_the_same(examples: int) -> None:
    data = separable(max(examples, 2), 0)
    some = minibatches.labelled(
        targets_of(data)[:examples], lambda rows, epoch: inputs_of(data, rows)
    )
    head = new_head()
    train(head, separable(40, 3), some, epochs=1)
    got = training.evaluate(head, some, objectives.single(2), 8)
    probabilities = np.asarray(head(inputs_of(data, np.arange(examples)), training=False))
    losses = -np.log((probabilities * targets_of(some)).sum(axis=1))
    assert got["loss"] == pytest.approx(losses.mean(), rel=1e-4)
    right = probabilities.argmax(1) == targets_of(some).argmax(1)
    assert got["accuracy"] == pytest.approx(right.mean())


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        head = new_head()
        train(head, separable(40, 0), separable(20, 1), epochs=3)
        weights.append(head.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    history = train(
        new_head(),
        separable(40, 0),
        separable(20, 1),
        epochs=10,
        warmup_steps=10,
        patience=99,
    )
    rates = [row["learning_rate"] for row in history.epochs]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(0.05)
    assert rates[2] > rates[5] > rates[9] < 0.01


def test_where_no_epoch_may_be_the_best_the_last_one_is_reported() -> None:
    head = new_head()
    history = train(
        head,
        separable(40, 0),
        separable(20, 1),
        epochs=3,
        start_from_epoch=9,
    )
    assert history.best_epoch == 2
    loss = training.evaluate(head, separable(20, 1), objectives.single(2), 8)["loss"]
    assert history.best["val_loss"] == pytest.approx(loss)


def test_batch_normalization_and_all_before_the_cut_stay_bit_identical() -> None:
    network = build_backbone("ConvNet", input_size=16)
    starts = block_starts(network, BACKBONES["ConvNet"].block)
    parts = split(network, starts, "block3")
    freezing.unfreeze(parts.suffix.layers)
    head = heads.build_head(features=96, outputs=[("probabilities", 2, "softmax")], normalize=False)
    model = heads.join(parts.suffix, head)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(24, *parts.suffix.input_shape[1:])).astype("float32") * 5
    data = minibatches.labelled(
        minibatches.one_hot(np.arange(24) % 2, 2), lambda rows, epoch: inputs[rows]
    )
    weights = freezing.named_weights(model, network)
    before = freezing.snapshot(weights)
    frozen = freezing.frozen_names(model, weights)
    train(model, data, data, epochs=2, learning_rate=0.01)
    moved = set(freezing.movement(weights, before))
    assert moved == {"block3_conv/kernel", "probabilities/kernel", "probabilities/bias"}
    assert not moved & frozen
    assert sum("moving" in name for name in frozen) == 6


def test_unfreezing_batch_normalization_moves_its_statistics() -> None:
    """What the test above would miss if nothing could ever move them."""
    network = build_backbone("ConvNet", input_size=16)
    freezing.unfreeze(network.layers, batch_normalization=True)
    model = keras.Model(
        network.inputs[0],
        heads.build_head(features=96, outputs=[("probabilities", 2, "softmax")], normalize=False)(
            network.output
        ),
    )
    images = np.random.default_rng(0).uniform(0, 255, (16, 16, 16, 3)).astype("float32")
    data = minibatches.labelled(
        minibatches.one_hot(np.arange(16) % 2, 2), lambda rows, epoch: images[rows]
    )
    weights = freezing.named_weights(model)
    before = freezing.snapshot(weights)
    train(model, data, data, epochs=1)
    moved = freezing.movement(weights, before)
    assert any("moving_mean" in name for name in moved)
    assert not moved.keys() & freezing.frozen_names(model, weights)


def test_a_head_that_normalizes_keeps_its_statistics_when_saved(tmp_path: object) -> None:
    features = np.random.default_rng(0).normal(50.0, 9.0, (64, 4)).astype("float32")
    head = heads.build_head(features=4, outputs=[("probabilities", 3, "softmax")])
    heads.adapt(head, np.split(features, 4))
    expected = np.asarray(head(features))
    head.save_weights(f"{tmp_path}/head.weights.h5")
    again = heads.build_head(features=4, outputs=[("probabilities", 3, "softmax")])
    again.load_weights(f"{tmp_path}/head.weights.h5")
    np.testing.assert_allclose(np.asarray(again(features)), expected, atol=1e-6)


class InMemory:
    """A checkpoint that outlives one call of `train`."""

    def is_due(self) -> bool:
        return True

    def __init__(self) -> None:
        self.state: dict[str, np.ndarray] | None = None

    def load(self) -> dict[str, np.ndarray] | None:
        return self.state

    def save(self, state: dict[str, np.ndarray]) -> None:
        self.state = state


@pytest.mark.parametrize("patience", [99, 2])
@pytest.mark.parametrize("stop_after", [0, 3, 5])
def test_a_phase_that_was_stopped_ends_with_the_weights_it_would_have_had(
    stop_after: int, patience: int
) -> None:
    """Dropout, Adam's moments, the schedule and early stopping all go on: bit-identical."""

    def run(checkpoint: InMemory, stop: bool) -> tuple[training.History, list[np.ndarray]]:
        def on_epoch(epoch: int, logs: dict[str, float]) -> None:
            if stop and epoch == stop_after:
                raise InterruptedError

        keras.utils.set_random_seed(5)
        head = heads.build_head(
            features=4,
            outputs=[("probabilities", 2, "softmax")],
            hidden=8,
            dropout=0.5,
            normalize=False,
        )
        history = train(
            head,
            separable(40, 0),
            separable(20, 1),
            weight_decay=0.01,
            warmup_steps=8,
            patience=patience,
            on_epoch=on_epoch,
            checkpoint=checkpoint,
        )
        return history, head.get_weights()

    whole, expected = run(InMemory(), stop=False)
    checkpoint = InMemory()
    if len(whole.epochs) > stop_after:
        with pytest.raises(InterruptedError):
            run(checkpoint, stop=True)
    resumed, weights = run(checkpoint, stop=False)
    assert resumed == whole
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_moving_averages_are_what_is_validated_and_kept() -> None:
    """With a momentum near 1 the averages hardly leave zero, where the head begins."""
    examples = separable(40, 0)
    plain, averaged = new_head(), new_head()
    train(plain, examples, examples, epochs=4)
    history = train(averaged, examples, examples, epochs=4, ema=0.99)
    norms = [np.abs(head.get_weights()[0]).sum() for head in (plain, averaged)]
    assert 0 < norms[1] < 0.5 * norms[0]
    loss = training.evaluate(averaged, examples, objectives.single(2), 8)["loss"]
    assert history.best["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_each_variable_has_the_learning_rate_it_is_given() -> None:
    """Adam's first step is its learning rate; weight decay takes its share at the same rate."""
    head = heads.build_head(
        features=4, outputs=[("probabilities", 2, "softmax")], hidden=3, normalize=False
    )
    paths = {variable.path for variable in head.variables}
    rates = {path: 0.1 if path.startswith("hidden") else 1.0 for path in paths}
    train(head, separable(8, 0), separable(8, 1), epochs=2, rates=rates)  # Zeros: no gradient yet.
    before = [np.array(weight) for weight in head.get_weights()]
    train(head, separable(8, 0), separable(8, 1), epochs=1, learning_rate=0.01, rates=rates)
    steps = [np.abs(a - b).max() for a, b in zip(head.get_weights(), before, strict=True)]
    assert steps == pytest.approx([0.001, 0.001, 0.01, 0.01], rel=0.05)
    kernels = []
    for decay in (0.0, 0.5):
        head.set_weights(before)
        rate = {"epochs": 1, "learning_rate": 0.01}
        train(head, separable(8, 0), separable(8, 1), rates=rates, weight_decay=decay, **rate)
        kernels.append(head.get_weights())
    shrunk = [np.abs(a - b).max() for a, b in zip(*kernels, strict=True)]
    taken = [0.001 * 0.5 * np.abs(before[0]).max(), 0, 0.01 * 0.5 * np.abs(before[2]).max(), 0]
    assert shrunk == pytest.approx(taken, rel=0.01, abs=1e-7)


def test_a_step_that_is_compiled_is_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that an optimizer can have."""
    given: dict[str, Any] = {"weight_decay": 0.1, "clip_norm": 0.5, "ema": 0.9, "epochs": 3}
    weights = []
    for fused_from in (10**9, 0):
        monkeypatch.setattr(optimization, "FUSED_FROM", fused_from)
        head = new_head()
        rates = {head.layers[-1].bias.path: 0.5}
        train(head, separable(40, 0), separable(20, 1), rates=rates, **given)
        weights.append(head.get_weights())
    for plain, fused in zip(*weights, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-5, atol=1e-7)
        assert np.abs(plain).max() > 0


def test_balanced_classes_weigh_the_same() -> None:
    targets = minibatches.one_hot(np.array([0] * 8 + [1] * 2), 3)
    weights = objectives.balanced_class_weights(targets)
    np.testing.assert_allclose(weights, [0.625, 2.5, 0.0])
    assert (targets @ weights).mean() == pytest.approx(1.0)


def test_focal_loss_without_focus_is_cross_entropy_and_with_it_looks_at_what_is_wrong() -> None:
    truth, said = np.array([[1.0, 0.0]] * 2), np.array([[0.9, 0.1], [0.2, 0.8]])
    plain = np.mean(objectives.classification()(truth, said))
    nearly = np.mean(objectives.classification(focal_gamma=1e-6)(truth, said))
    assert float(nearly) == pytest.approx(float(plain), rel=1e-4)
    focal = [
        float(objectives.classification(focal_gamma=2)(truth[:1], row[None])[0]) for row in said
    ]
    assert focal == pytest.approx([0.01 * -np.log(0.9), 0.64 * -np.log(0.2)], rel=1e-3)


MIXUP = minibatches.Mixup(1.0)


def test_mixup_and_clipping_still_learn() -> None:
    head = new_head()
    plain = separable(80, 0)
    weights = targets_of(plain) @ np.array([[1.0], [2.0]], "float32")
    weighted = minibatches.labelled(
        targets_of(plain), lambda rows, epoch: inputs_of(plain, rows), weights=weights
    )
    history = train(head, weighted, separable(40, 1), mixup=minibatches.Mixup(0.4), clip_norm=0.5)
    assert history.best["val_accuracy"] > 0.85
    assert history.best["accuracy"] < 1.0


def test_a_phase_that_goes_on_has_epochs_of_its_own() -> None:
    """Or it would see again the views that the phase before it has seen."""
    examples, seen = separable(16, 0), []

    def gather(rows: np.ndarray, epoch: int) -> Any:
        seen.append((epoch, tuple(rows)))
        return inputs_of(examples, rows, epoch)

    watched = minibatches.labelled(targets_of(examples), gather)
    for first in (0, 2):
        train(new_head(), watched, separable(8, 1), epochs=2, first_epoch=first)
    assert {epoch for epoch, _ in seen} == {0, 1, 2, 3}
    assert len({rows for _, rows in seen}) == len(seen)


def test_what_is_mixed_with_its_like_keeps_its_label() -> None:
    """Two clips of one class, as a sound that is laid over another one."""
    labels = np.array([0, 1, 0, 2, 1, 0, 1])
    targets, weights = minibatches.one_hot(labels, 3), np.ones((7, 1), np.float32)
    inputs = np.eye(7, dtype=np.float32)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        alike = minibatches.Mixup(1.0, alike=True)
        mixed, answers, _ = minibatches.mix((inputs, targets, weights), alike, rng, (3,))
        np.testing.assert_allclose(answers, targets, atol=1e-6)
        for row, label in zip(mixed, labels, strict=True):
            assert set(labels[row > 0]) == {label}
            assert (row > 0).sum() == (1 if label == 2 else 2)


def test_mixed_labels_bring_their_own_weights() -> None:
    """Two rows, one of weight 0: what is left of it in the mixture counts for nothing."""
    targets, weights = minibatches.one_hot(np.array([0, 1]), 2), np.array([[2.0], [0.0]], "float32")
    inputs = np.array([[1.0], [3.0]], "float32")
    for seed in range(8):
        rng = np.random.default_rng(seed)
        mixed, labels, both = minibatches.mix((inputs, targets, weights), MIXUP, rng, (2,))
        assert 1 <= mixed.min() <= mixed.max() <= 3
        np.testing.assert_allclose(both[:, 0] @ labels, [2.0 * both.sum() / 2.0, 0.0], atol=1e-6)


def test_figures_are_of_those_that_have_an_answer() -> None:
    """Few of them do, and all of those are right."""
    data = separable(64, 0)
    told = np.zeros((64, 1), np.float32)
    told[[3, 40]] = 32.0
    some = minibatches.labelled(
        targets_of(data), lambda rows, epoch: inputs_of(data, rows), weights=told
    )
    head = new_head()
    train(head, separable(200, 1), separable(20, 2), epochs=8)
    right = np.asarray(head(inputs_of(data, np.array([3, 40])), training=False)).argmax(1)
    expected = np.mean(right == targets_of(data)[[3, 40]].argmax(1))
    figures = training.evaluate(head, some, objectives.single(2), 8)
    assert figures["accuracy"] == pytest.approx(expected)
    assert expected > 0
