"""The training loop, and what it may move."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from models import freezing, heads, training
from models.backbones import BACKBONES, build_backbone
from models.splitting import block_starts, split


def separable(examples: int, seed: int) -> training.Data:
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % 2
    features = rng.normal(size=(examples, 4)).astype("float32")
    features[:, 0] += 3 * labels
    return training.Data(training.one_hot(labels, 2), lambda rows, epoch: features[rows])


def new_head() -> keras.Model:
    return heads.build_head(features=4, num_classes=2, normalize=False, seed=3)


def arguments(**changed: float) -> dict[str, float]:
    return {"epochs": 8, "learning_rate": 0.05, "batch_size": 8, "seed": 0} | changed


def test_ends_with_the_weights_of_the_best_epoch() -> None:
    """Labels of the validation set are swapped, so that it gets worse from the first epoch on."""
    train, validation = separable(40, 0), separable(20, 1)
    swapped = training.Data(validation.targets[:, ::-1], validation.gather)
    head = new_head()
    history = training.train(head, train, swapped, **arguments(patience=2))  # type: ignore[arg-type]
    losses = [row["val_loss"] for row in history.epochs]
    assert history.best_epoch == int(np.argmin(losses)) == 0
    assert len(history.epochs) == 3
    assert training.evaluate(head, swapped, 8)["loss"] == pytest.approx(losses[0], rel=1e-6)


def test_metrics_are_those_of_all_examples_not_of_the_last_batch() -> None:
    train, validation = separable(40, 0), separable(21, 1)
    head = new_head()
    history = training.train(head, train, validation, **arguments(epochs=1))  # type: ignore[arg-type]
    predicted = np.asarray(head(validation.gather(np.arange(21), 0), training=False)).argmax(1)
    accuracy = np.mean(predicted == validation.targets.argmax(1))
    assert history.epochs[0]["val_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("examples", [40, 21, 7, 1])
def test_uneven_batches_weigh_every_example_the_same(examples: int) -> None:
    data = separable(max(examples, 2), 0)
    some = training.Data(data.targets[:examples], data.gather)
    head = new_head()
    training.train(head, separable(40, 3), some, **arguments(epochs=1))  # type: ignore[arg-type]
    got = training.evaluate(head, some, 8)
    probabilities = np.asarray(head(data.gather(np.arange(examples), 0), training=False))
    losses = -np.log((probabilities * some.targets).sum(axis=1))
    assert got["loss"] == pytest.approx(losses.mean(), rel=1e-4)
    right = probabilities.argmax(1) == some.targets.argmax(1)
    assert got["accuracy"] == pytest.approx(right.mean())


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        head = new_head()
        training.train(head, separable(40, 0), separable(20, 1), **arguments(epochs=3))  # type: ignore[arg-type]
        weights.append(head.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    history = training.train(
        new_head(),
        separable(40, 0),
        separable(20, 1),
        **arguments(epochs=10, warmup_epochs=2, patience=99),  # type: ignore[arg-type]
    )
    rates = [row["learning_rate"] for row in history.epochs]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(0.05)
    assert rates[2] > rates[5] > rates[9] < 0.01


def test_where_no_epoch_may_be_the_best_the_last_one_is_reported() -> None:
    head = new_head()
    history = training.train(
        head,
        separable(40, 0),
        separable(20, 1),
        **arguments(epochs=3, start_from_epoch=9),  # type: ignore[arg-type]
    )
    assert history.best_epoch == 2
    loss = training.evaluate(head, separable(20, 1), 8)["loss"]
    assert history.best["val_loss"] == pytest.approx(loss)


def test_batch_normalization_and_all_before_the_cut_stay_bit_identical() -> None:
    network = build_backbone("ConvNet", input_size=16)
    starts = block_starts(network, BACKBONES["ConvNet"].block)
    parts = split(network, starts, "block3")
    freezing.unfreeze(parts.suffix)
    head = heads.build_head(features=96, num_classes=2, normalize=False)
    model = heads.join(parts.suffix, head)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(24, *parts.suffix.input_shape[1:])).astype("float32") * 5
    data = training.Data(training.one_hot(np.arange(24) % 2, 2), lambda rows, epoch: inputs[rows])
    before = freezing.snapshot(network)
    frozen = freezing.frozen_names(network, model)
    training.train(model, data, data, **arguments(epochs=2, learning_rate=0.01))  # type: ignore[arg-type]
    moved = set(freezing.movement(network, before))
    assert {name.split("/", 1)[1] for name in moved} == {"block3_conv/kernel"}
    assert not moved & frozen
    assert sum("moving" in name for name in frozen) == 6


def test_unfreezing_batch_normalization_moves_its_statistics() -> None:
    """What the test above would miss if nothing could ever move them."""
    network = build_backbone("ConvNet", input_size=16)
    freezing.unfreeze(network, batch_normalization=True)
    model = keras.Model(
        network.inputs[0],
        heads.build_head(features=96, num_classes=2, normalize=False)(network.output),
    )
    images = np.random.default_rng(0).uniform(0, 255, (16, 16, 16, 3)).astype("float32")
    data = training.Data(training.one_hot(np.arange(16) % 2, 2), lambda rows, epoch: images[rows])
    before = freezing.snapshot(network)
    training.train(model, data, data, **arguments(epochs=1))  # type: ignore[arg-type]
    assert any("moving_mean" in name for name in freezing.movement(network, before))


def test_a_head_that_normalizes_keeps_its_statistics_when_saved(tmp_path: object) -> None:
    features = np.random.default_rng(0).normal(50.0, 9.0, (64, 4)).astype("float32")
    head = heads.build_head(features=4, num_classes=3)
    heads.adapt(head, features)
    expected = np.asarray(head(features))
    head.save_weights(f"{tmp_path}/head.weights.h5")
    again = heads.build_head(features=4, num_classes=3)
    again.load_weights(f"{tmp_path}/head.weights.h5")
    np.testing.assert_allclose(np.asarray(again(features)), expected, atol=1e-6)


class InMemory:
    """A checkpoint that outlives one call of `train`."""

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
        head = heads.build_head(features=4, num_classes=2, hidden=8, dropout=0.5, normalize=False)
        history = training.train(
            head,
            separable(40, 0),
            separable(20, 1),
            **arguments(weight_decay=0.01, warmup_epochs=1.5, patience=patience),  # type: ignore[arg-type]
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
