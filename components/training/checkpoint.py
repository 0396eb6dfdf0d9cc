"""The state of a phase in a file, which a killed run goes on from."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

# Of the time, to write down where training is.
_SHARE = 0.03


class FileCheckpoint:
    """The state of a phase in one file, which is whole or absent.

    Keras's BackupAndRestore does not survive SIGKILL: a file that is half written stays. This
    one is written beside, made durable and renamed. It takes a small share of the time: epochs
    that are cheaper to run again than to write down are not written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cost = 0.0
        self._saved = time.monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        if not self._path.exists():
            return None
        with np.load(self._path) as archive:
            return dict(archive)

    def is_due(self) -> bool:
        return time.monotonic() - self._saved >= self._cost / _SHARE

    def save(self, state: dict[str, np.ndarray]) -> None:
        started = time.monotonic()
        temporary = self._path.with_suffix(".writing")
        with temporary.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._saved = time.monotonic()
        self._cost = self._saved - started
