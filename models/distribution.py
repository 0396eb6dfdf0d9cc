"""Training on several devices at once: each has all weights, and a share of every batch.

Keras's own DataParallel on JAX, `tf.distribute` on TensorFlow. The step is the one that a single
device would make of the whole batch: gradients are summed over the shares before anything is
done with them. Several hosts run the same program, each with its part of every batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epy

with epy.lazy_imports():
    import keras
    import tensorflow as tf


@contextlib.contextmanager
def scope(distribution: str, *, several_hosts: bool = False) -> Iterator[None]:
    """Networks that are built in this context are trained by all devices of this machine.

    Args:
        distribution: `none` or `data_parallel`.
        several_hosts: and by those of the other hosts that the environment names: TF_CONFIG on
            TensorFlow, KERAS_DISTRIBUTION_JOB_ADDRESSES and its like (see
            `keras.distribution.initialize`) on JAX. All must enter this context; on leaving it
            they wait for each other, and a process can enter it once.
    """
    if distribution == "none":
        yield
        return
    backend = keras.backend.backend()
    if backend == "jax":
        with _joined() if several_hosts else contextlib.nullcontext(), _data_parallel():
            yield
    elif backend == "tensorflow":
        strategy = _strategy(several_hosts)
        with strategy.scope():
            yield
        if several_hosts:  # Neither may end while the other is still at work: it would be missed.
            strategy.reduce("SUM", strategy.run(lambda: tf.ones([])), axis=None)
    else:
        raise ValueError(f"distribution must be none on {backend}, got {distribution!r}")


def in_effect() -> bool:
    """Whether networks that are built now are shared by several devices, or by one in `scope`."""
    if keras.backend.backend() == "tensorflow":
        return bool(tf.distribute.has_strategy())
    return keras.distribution.distribution() is not None


def replicas() -> int:
    """How many devices share a batch, on all hosts."""
    if keras.backend.backend() == "tensorflow":
        return int(tf.distribute.get_strategy().num_replicas_in_sync)
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def hosts() -> tuple[int, int]:
    """(how many hosts share a batch, which of them this is)."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            here, resolver = len(strategy.extended.worker_devices), strategy.cluster_resolver
            chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
            before = chiefs if resolver.task_type == "worker" else 0
            return replicas() // here, before + resolver.task_id
    elif backend == "jax" and keras.distribution.distribution() is not None:
        import jax

        return jax.process_count(), jax.process_index()
    return 1, 0


def part(batch: Any) -> Any:
    """The part of each array of (batch, …) that is this host's; `replicas` divides the batch."""
    count, number = hosts()
    if count == 1:
        return batch
    return keras.tree.map_structure(lambda array: np.split(array, count)[number], batch)


def shared(batch: Any) -> Any:
    """This host's part of a batch as a training step is to be given it.

    On JAX Keras itself does this.
    """
    if replicas() == 1 or keras.backend.backend() != "tensorflow":
        return batch
    strategy = tf.distribute.get_strategy()
    here = len(strategy.extended.worker_devices)

    def share(array: np.ndarray) -> Any:
        parts = np.split(array, here)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group % here])
        )

    return keras.tree.map_structure(share, batch)


def build(model: keras.Model, one: Callable[[], tuple[Any, np.ndarray, np.ndarray]]) -> None:
    """Let a compiled model make its metrics; on TensorFlow, Keras cannot from shares alone.

    Args:
        one: → inputs, targets and weights of one example; asked for only where they are needed.
    """
    if keras.backend.backend() == "tensorflow" and replicas() > 1:
        if hosts()[0] > 1:
            for name in ("train_step", "test_step"):
                setattr(model, name, _with_axis(getattr(model, name)))
        inputs, targets, weights = one()
        model.test_on_batch(inputs, targets, sample_weight=weights)


def _with_axis(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step whose figures have an axis: over several hosts, Keras takes the mean along it."""
    return lambda data: keras.tree.map_structure(lambda x: tf.reshape(x, [1]), step(data))


def summed(tensors: list[Any]) -> tuple[list[Any], int]:
    """What belongs to the whole batch, in a step that may know only one device's share of it.

    Args:
        tensors: gradients or sums, of the examples that the step sees.

    Returns:
        Them for the whole batch, and how many devices have them. On JAX, where a step sees the
        whole batch, they are that already, and it is one.
    """
    if keras.backend.backend() != "tensorflow" or replicas() == 1:
        return tensors, 1
    context: Any = tf.distribute.get_replica_context()
    if context is None:  # Outside of a step.
        return tensors, 1
    here = [tf.identity(tensor) for tensor in tensors]  # What is read of a variable is nowhere.
    return context.all_reduce(tf.distribute.ReduceOp.SUM, here), replicas()


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    import jax

    keras.utils.set_random_seed(0)  # All hosts must begin with the same weights.
    keras.distribution.initialize()
    yield
    # The first host serves the others, and must not end before them. After an error, which may be
    # this host's alone, nobody waits.
    jax.distributed.shutdown()


@contextlib.contextmanager
def _data_parallel() -> Iterator[None]:
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _strategy(several_hosts: bool) -> Any:
    if several_hosts:
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])
