"""Examples of one fixed shape by the batch: decoded and changed on all cores, and as served."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from components.modalities.protocols import Decoded, Rows, Survey

# What is decoded before it is asked for.
AHEAD_BYTES = 128 << 20


class Mapped:
    """A `protocols.Reader` of a network with one input."""

    endpoint = "serve_float"

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        decode: Callable[[Any], Any],
        augmenter: Callable[[], Callable[[Any, Any, Any], Any]],
        survey: Callable[[Iterable[bytes]], Survey] = lambda _: Survey(),
    ) -> None:
        """
        Args:
            name: of the input, and `shape` of an example in it.
            decode: for a graph: a scalar string tensor → float32 of `shape`; fails where it cannot
                be decoded.
            augmenter: () → for a graph: (decoded, id, view) → that view of the example; view 0 is
                the example itself.
            survey: see `protocols.Reader`.
        """
        self.survey = survey
        self._shape, self._decode, self._augmenter = shape, decode, augmenter
        self.inputs = [tf.TensorSpec((None, *shape), tf.float32, name=name)]
        self.tracked: list[Any] = []
        self._reads: Callable[..., Any] | None = None

    def batches(self, rows: Rows, batch_size: int, *, augmented: bool) -> Iterator[Decoded]:
        """See `protocols.Reader.batches`."""
        change = self._augmenter() if augmented else None

        def views_of(identity: Any, raw: Any, views: Any) -> Any:
            decoded = self._decode(raw)
            if change is None:
                return identity[tf.newaxis], views, decoded[tf.newaxis]
            inputs = tf.map_fn(
                lambda view: change(decoded, identity, view), views, fn_output_signature=tf.float32
            )
            return tf.repeat(identity, tf.size(views)), views, inputs

        signature = (
            tf.TensorSpec((), tf.string),
            tf.TensorSpec((), tf.string),
            tf.TensorSpec((None,), tf.int32),
        )
        stream = tf.data.Dataset.from_generator(rows, output_signature=signature)
        if change is None:
            # There is nothing that autograph would have to convert, and it takes a second.
            views_of = tf.autograph.experimental.do_not_convert(views_of)
        # On all cores from the start: what looks for better settings meanwhile ends up to two
        # seconds after the last batch, and the iterator waits for it.
        options = tf.data.Options()
        options.autotune.enabled = False
        stream = stream.map(views_of, num_parallel_calls=os.cpu_count()).unbatch()
        ahead = max(2, AHEAD_BYTES // (4 * math.prod(self._shape) * batch_size))
        stream = stream.batch(batch_size).prefetch(ahead).with_options(options)
        for ids, views, inputs in stream.as_numpy_iterator():
            yield Decoded(ids, views, [inputs])

    def read(self, ids: list[str], raws: list[bytes], views: list[int]) -> Decoded:
        """See `protocols.Reader.read`."""
        if not any(views):
            inputs = np.stack([self._decode(tf.constant(raw)).numpy() for raw in raws])
            return Decoded(np.array(ids), np.array(views), [inputs])
        if self._reads is None:
            change = self._augmenter()

            def one(row: Any) -> Any:
                identity, raw, view = row
                return change(self._decode(raw), identity, view)

            signature = [tf.TensorSpec((None,), kind) for kind in (tf.string, tf.string, tf.int32)]
            self._reads = tf.function(
                lambda *rows: tf.map_fn(one, rows, fn_output_signature=tf.float32),
                input_signature=signature,
            )
        changed = self._reads(tf.constant(ids), tf.constant(raws), tf.constant(views, tf.int32))
        return Decoded(np.array(ids), np.array(views), [changed.numpy()])

    def serve(self, raws: Any) -> tuple[list[Any], Any]:
        """What cannot be decoded becomes zeros.

        A graph has no `try`; a tf.data pipeline in it does: `ignore_errors` drops what fails. One
        element more, which is always good, keeps the batch from being empty.
        """
        size = tf.size(raws, out_type=tf.int64)
        numbered = tf.data.Dataset.from_tensor_slices((tf.range(size), raws))
        decoded = numbered.map(
            lambda number, one: (number, self._decode(one)), num_parallel_calls=tf.data.AUTOTUNE
        ).ignore_errors(log_warning=False)
        last = tf.data.Dataset.from_tensors((size, tf.zeros(self._shape)))
        whole = decoded.concatenate(last).batch(size + 1)
        at, values = whole.get_single_element()
        shape = tf.concat([[size + 1], tf.constant(self._shape, tf.int64)], axis=0)
        inputs = tf.scatter_nd(at[:, tf.newaxis], values, shape)[:-1]
        valid = tf.scatter_nd(at[:, tf.newaxis], tf.ones_like(at), tf.stack([size + 1]))[:-1] > 0
        return [tf.ensure_shape(inputs, (None, *self._shape))], valid
