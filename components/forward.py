"""The frozen part at work: raw examples are decoded and augmented while the network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.artifacts import AssembledModel
from components.modalities import MODALITIES
from models import folding, hardware
from models.splitting import one_or_all

# (pixels, id, view) → the pixels of that view; see `augment.augmenter`.
Augmented = Callable[[Any, Any, Any], Any]


class Forward:
    """A frozen network from decoded inputs to some of its tensors, in batches of one size."""

    def __init__(self, network: keras.Model, tensors: list[Any], batch_size: int) -> None:
        self._model = folding.fold(keras.Model(one_or_all(network.inputs), tensors))
        self._model.compile(jit_compile=hardware.jit_compile())
        self._batch_size = batch_size

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """(batch, …), no more than `batch_size` of them → each of the tensors, (batch, …)."""
        missing = self._batch_size - len(inputs)
        # Always as many, or the backend would compile everything again for the last batch.
        full = np.concatenate([inputs, inputs[:1].repeat(missing, axis=0)]) if missing else inputs
        outputs = keras.tree.flatten(self._model.predict_on_batch(full))
        return [output[: len(inputs)] for output in outputs]


def decoded_batches(
    model: AssembledModel,
    raw: Callable[[], Iterator[tuple[bytes, bytes, list[int]]]],
    augmented: Augmented | None,
    batch_size: int,
) -> Iterator[tuple[Any, Any, Any]]:
    """(ids, views, inputs) in batches; decoded and augmented on all cores, ahead of their use.

    Args:
        raw: → (id, raw form, numbers of its views) of each example.
        augmented: None where all views are view 0.
    """
    decode = MODALITIES[model.modality].decode

    def views_of(identity: Any, data: Any, views: Any) -> Any:
        decoded = decode(model, data)
        if augmented is None:
            return identity[tf.newaxis], views, decoded[tf.newaxis]
        inputs = tf.map_fn(
            lambda view: augmented(decoded, identity, view), views, fn_output_signature=tf.float32
        )
        return tf.repeat(identity, tf.size(views)), views, inputs

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((None,), tf.int32),
    )
    stream = tf.data.Dataset.from_generator(raw, output_signature=signature)
    if augmented is None:
        # There is nothing that autograph would have to convert, and it takes a second.
        views_of = tf.autograph.experimental.do_not_convert(views_of)
    stream = stream.map(views_of, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    yield from stream.batch(batch_size).prefetch(2).as_numpy_iterator()


def batch_decoder(model: AssembledModel, augmented: Augmented) -> Callable[..., Any]:
    """(ids, raw forms, views), a batch of each → the decoded and augmented inputs."""
    decode = MODALITIES[model.modality].decode

    def one(row: Any) -> Any:
        identity, data, view = row
        return augmented(decode(model, data), identity, view)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((None,), tf.int32),
        ]
    )  # type: ignore[untyped-decorator]
    def batch(identities: Any, data: Any, views: Any) -> Any:
        return tf.map_fn(one, (identities, data, views), fn_output_signature=tf.float32)

    return lambda *rows: batch(*map(tf.constant, rows)).numpy()
