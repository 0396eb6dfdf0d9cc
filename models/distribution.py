"""Training on several devices at once: each has all weights, and a share of every batch.

Keras's own DataParallel on JAX, `tf.distribute` on TensorFlow. The step is the one that a single
device would make of the whole batch: gradients are summed over the shares before anything is
done with them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epy

with epy.lazy_imports():
    import keras
    import tensorflow as tf


@contextlib.contextmanager
def scope(distribution: str) -> Iterator[None]:
    """Networks that are built in this context are trained by all devices of this machine.

    Several hosts take part where the environment says so: TF_CONFIG for TensorFlow,
    KERAS_DISTRIBUTION_JOB_ADDRESSES and its like (see `keras.distribution.initialize`) for JAX.

    Args:
        distribution: `none` or `data_parallel`.
    """
    if distribution == "none":
        yield
        return
    backend = keras.backend.backend()
    if backend == "jax":
        with _data_parallel():
            yield
    elif backend == "tensorflow":
        with _strategy().scope():
            yield
    else:
        raise ValueError(f"distribution must be none on {backend}, got {distribution!r}")


def replicas() -> int:
    """How many devices share a batch."""
    if keras.backend.backend() == "tensorflow":
        return int(tf.distribute.get_strategy().num_replicas_in_sync)
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def shared(batch: Any) -> Any:
    """Arrays of (batch, …) as a training step is to be given them; `replicas` divides the batch.

    On JAX Keras itself does this.
    """
    count = replicas()
    if count == 1 or keras.backend.backend() != "tensorflow":
        return batch

    def share(array: np.ndarray) -> Any:
        parts = np.split(array, count)
        return tf.distribute.get_strategy().experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    return keras.tree.map_structure(share, batch)


def build(model: keras.Model, one: Callable[[], tuple[Any, np.ndarray]]) -> None:
    """Let a compiled model make its metrics; on TensorFlow, Keras cannot from shares alone.

    Args:
        one: → inputs and targets of one example, which are asked for only where they are needed.
    """
    if keras.backend.backend() == "tensorflow" and replicas() > 1:
        inputs, targets = one()
        model.test_on_batch(inputs, targets, sample_weight=np.ones(1, "float32"))


def summed(gradients: list[Any]) -> tuple[list[Any], int]:
    """Gradients of the whole batch, in a step that may know only those of one device's share.

    Returns:
        Them, and how many devices' gradients are added up later, by the optimizer. On JAX, where a
        step sees the whole batch, they are there already, and nothing is added.
    """
    if keras.backend.backend() != "tensorflow" or replicas() == 1:
        return gradients, 1
    context: Any = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients), replicas()


@contextlib.contextmanager
def _data_parallel() -> Iterator[None]:
    if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ:
        keras.distribution.initialize()
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _strategy() -> Any:
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])
