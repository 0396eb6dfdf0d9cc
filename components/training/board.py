"""A phase of training as TensorBoard shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from etils import epy

with epy.lazy_imports():
    from tensorboard.compat.proto import event_pb2
    from tensorboard.plugins.scalar import summary_v2
    from tensorboard.summary.writer import event_file_writer

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
            prefix: event_file_writer.EventFileWriter(str(directory / name))
            for prefix, name in (("", "train"), (VALIDATION, "validation"))
        }
        self._flushed = time.monotonic()

    def write(self, epoch: int, logs: Mapping[str, float]) -> None:
        """What is known of an epoch, soon: the phase may be watched, or killed."""
        for name, value in logs.items():
            prefix = VALIDATION if name.startswith(VALIDATION) else ""
            summary = summary_v2.scalar_pb(f"epoch_{name.removeprefix(prefix)}", value)
            self._writers[prefix].add_event(
                event_pb2.Event(summary=summary, wall_time=time.time(), step=epoch)
            )
        if time.monotonic() - self._flushed > _SECONDS:
            self._flushed = time.monotonic()
            for writer in self._writers.values():
                writer.flush()

    def close(self) -> None:
        """The phase is done."""
        for writer in self._writers.values():
            writer.close()
