"""What happens in a run, as it happens: a line of JSON an event, in the store.

STORE/runs/RUN/events.jsonl   what `--log json` prints, and more often
STORE/runs/RUN/STAGE.end      a person wants this stage to end its training
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

EVENTS = "events.jsonl"
# What was written may be lost with the machine for so long; never with the process.
_SYNC_SECONDS = 1.0


def end_file(folder: Path, stage: str) -> Path:
    """What says that training in a stage is to end with the best so far.

    Args:
        folder: of the run.
        stage: with its branch.
    """
    return folder / f"{stage}.end"


def line(level: str, event: str, facts: Mapping[str, Any]) -> str:
    """An event as a line of JSON; what is no finite number is null, as JSON has none."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    entry = {"time": now, "level": level, "event": event, **facts}
    try:
        return json.dumps(entry, default=str, allow_nan=False) + "\n"
    except ValueError:
        return json.dumps(finite(entry), default=str) + "\n"


def finite(value: Any) -> Any:
    """The same, with null in the place of what is no finite number, as JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return list(map(finite, value)) if isinstance(value, list | tuple) else value


class EventFile:
    """Appends lines to a file, in a thread of its own: who tells of something waits for no disk.

    What is written survives the process however that ends, and within a second the machine. Where
    nothing can be written, nothing more is: a run does not end for the sake of what is told of it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o644)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Have a whole line written."""
        self._lines.put(text)

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """All is written, and on the disk."""
        self._lines.put(None)
        self._thread.join()
        os.close(self._handle)

    def _work(self) -> None:
        synced, unsynced, ended = time.monotonic(), False, False
        try:
            while not ended:
                lines, ended = self._next(_SYNC_SECONDS if unsynced else None)
                if lines:
                    self._write("".join(lines).encode())
                    unsynced = True
                if unsynced and (ended or time.monotonic() - synced >= _SYNC_SECONDS):
                    os.fsync(self._handle)
                    synced, unsynced = time.monotonic(), False
        except OSError:
            while not ended:
                _, ended = self._next(None)

    def _next(self, seconds: float | None) -> tuple[list[str], bool]:
        """All there is, once there is something or after so many seconds; whether it is the end."""
        found: list[str] = []
        try:
            text = self._lines.get(timeout=seconds)
            while text is not None:
                found.append(text)
                text = self._lines.get_nowait()
        except queue.Empty:
            return found, False
        return found, True

    def _write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._handle, content) :]
