"""What is told while a run goes on, on stderr: to a person, or as JSON to what collects logs."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from etils import epy

from pipeline.records import Step

with epy.lazy_imports():
    from rich import console, progress

# So often long work is told of where there is no bar.
_EVERY_SECONDS = 15


class Log(Protocol):
    """Told what happens in a run."""

    def say(self, message: str) -> None:
        """One line of news."""

    def begin(self, name: str) -> None:
        """A stage starts."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Where the running stage is."""

    def end(self, step: Step, shown: tuple[str, ...] = ()) -> None:
        """A stage is done. Statistics matter whose names begin like one of `shown`."""

    def stop(self) -> None:
        """Nothing runs any more."""


def open_log(form: Literal["text", "json"]) -> Log:
    return JsonLines() if form == "json" else Console()


class JsonLines:
    """An object a line: time, level, event, and what belongs to it."""

    def __init__(self) -> None:
        self._stage = ""
        self._said = time.monotonic()

    def say(self, message: str) -> None:
        if message:
            log_json("info", "message", message=message)

    def begin(self, name: str) -> None:
        self._stage, self._said = name, time.monotonic()
        log_json("info", "stage began", stage=name)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self._said > _EVERY_SECONDS:
            self._said = time.monotonic()
            log_json(
                "info", "progress", stage=self._stage, work=what, done=done, total=total, note=note
            )

    def end(self, step: Step, shown: tuple[str, ...] = ()) -> None:
        del shown
        log_json(
            "info",
            "stage ended",
            stage=step.name,
            status=step.status,
            seconds=step.seconds,
            stats=step.stats,
        )

    def stop(self) -> None:
        pass


def log_json(level: str, event: str, **facts: Any) -> None:
    """One line on stderr."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    entry = {"time": now, "level": level, "event": event, **facts}
    sys.stderr.write(json.dumps(entry, default=str) + "\n")
    sys.stderr.flush()


class Console:
    """Bars on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = console.Console(stderr=True, highlight=False)
        self._bar: progress.Progress | None = None
        self._task: progress.TaskID | None = None
        self._said = time.monotonic()

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, soft_wrap=True)

    def begin(self, name: str) -> None:
        if self._console.is_terminal:
            columns = (
                progress.TextColumn("  {task.description:<24}"),
                progress.BarColumn(30),
                progress.TextColumn("{task.completed:.0f}/{task.total} {task.fields[note]}"),
                progress.TimeElapsedColumn(),
            )
            self._bar = progress.Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(name, total=None, note="")
            self._bar.start()
        self._said = time.monotonic()

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._said > _EVERY_SECONDS:
            self._said = time.monotonic()
            self.say(f"  {what} {done}/{total} {note}".rstrip())

    def end(self, step: Step, shown: tuple[str, ...] = ()) -> None:
        self.stop()
        ran = step.status in ("ran", "helped")
        time_taken = f"{step.seconds:6.1f} s" if ran else " " * 8
        figures = "  ".join(
            f"{key} {_short(value)}"
            for beginning in shown
            for key, value in step.stats.items()
            if key.startswith(beginning) and value not in (None, [], 0)
        )
        self.say(f"{step.name:<28} {step.status:<7} {time_taken}  {figures}".rstrip())

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(len(value)) if isinstance(value, list) else str(value)
