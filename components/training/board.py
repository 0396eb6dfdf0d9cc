"""A phase of training as TensorBoard shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

VALIDATION = "val_"
# What is written is seen after so many seconds.
_SECONDS = 1.0


class Board:
    """A phase as TensorBoard shows it, under the names of Keras's own callback.

    Args:
        directory: of its logs, `train` and `validation` in it.
    """

    def __init__(self, directory: Path) -> None:
        self._writers = {
            prefix: tf.summary.create_file_writer(str(directory / name))
            for prefix, name in (("", "train"), (VALIDATION, "validation"))
        }
        self._flushed = time.monotonic()

    def write(self, epoch: int, logs: Mapping[str, float]) -> None:
        """What is known of an epoch, soon: the phase may be watched, or killed."""
        for name, value in logs.items():
            prefix = VALIDATION if name.startswith(VALIDATION) else ""
            with self._writers[prefix].as_default(epoch):
                tf.summary.scalar(f"epoch_{name.removeprefix(prefix)}", value)
        if time.monotonic() - self._flushed > _SECONDS:
            self._flush()

    def close(self) -> None:
        """The phase is done."""
        self._flush()

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()
        self._flushed = time.monotonic()
