"""Several devices, one loss curve: each in a process that has four virtual ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

DEVICES = 4


def curve(distribution: str) -> list[dict[str, float]]:
    """Fine-tuning of a whole small network, with everything that a step can have."""
    import keras

    from models import backbones, freezing, heads, optimization, training
    from models.distribution import replicas, scope

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 90)
    pictures = rng.normal(100, 20, (90, 16, 16, 3)) + 40 * labels[:, None, None, None]

    def data(part: slice) -> training.Data:
        mine = pictures[part].astype("float32")
        return training.Data(training.one_hot(labels[part], 2), lambda rows, _: mine[rows])

    with scope(distribution):
        assert replicas() == (1 if distribution == "none" else DEVICES)
        keras.utils.set_random_seed(0)
        network = backbones.build_backbone("ConvNet", input_size=16)
        values = [
            np.random.default_rng(number).normal(0, 0.1, weight.shape)
            + weight.path.endswith(("gamma", "variance"))
            for number, weight in enumerate(network.weights)
        ]
        network.set_weights(values)
        freezing.unfreeze(network.layers)
        head = heads.build_head(features=network.output_shape[-1], num_classes=2, normalize=False)
        optimizer = optimization.build_optimizer(
            learning_rate=1e-3, steps=40, weight_decay=0.01, clip_norm=0.5, ema=0.5
        )
        history = training.train(
            heads.join(network, head),
            data(slice(0, 70)),  # Four steps, none of which four devices can share evenly.
            data(slice(70, 90)),
            optimizer=optimizer,
            loss=optimization.build_loss(label_smoothing=0.1),
            epochs=4,
            batch_size=20,
            seed=1,
            class_weights=np.array([1.0, 2.0], "float32"),
        )
    return [history.before, *history.epochs]


def curve_on(backend: str, distribution: str) -> list[dict[str, float]]:
    """`curve` in a process of its own, with virtual devices."""
    code = (
        "import json, sys; from models.quiet import import_tensorflow; import_tensorflow();"
        "import tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0];"
        f"one = [tf.config.LogicalDeviceConfiguration()] * {DEVICES};"
        "sys.argv[1] == 'none' or tf.config.set_logical_device_configuration(cpu, one);"
        "from tests.test_distribution import curve;"
        "sys.stdout.write('RESULT' + json.dumps(curve(sys.argv[1])))"
    )
    flags = f"--xla_force_host_platform_device_count={1 if distribution == 'none' else DEVICES}"
    done = subprocess.run(
        [sys.executable, "-c", code, distribution],
        env=os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": flags},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: list[dict[str, float]] = json.loads(done.stdout.rpartition("RESULT")[2])
    return result


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_four_devices_have_the_loss_curve_of_one(backend: str) -> None:
    one, four = (curve_on(backend, distribution) for distribution in ("none", "data_parallel"))
    losses = [
        [[row[name] for name in ("loss", "val_loss") if name in row] for row in rows]
        for rows in (one, four)
    ]
    assert losses[0][-1][0] < 0.8 * losses[0][1][0]
    for mine, theirs in zip(*losses, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
