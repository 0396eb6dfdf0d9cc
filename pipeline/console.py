"""What a person sees while a run goes on: a line a stage, a bar for long work, on stderr."""

from __future__ import annotations

import time
from typing import Any

import rich.console
import rich.progress

# Figures worth showing beside a stage's name, where its statistics have them.
_SHOWN = (
    "train",
    "validation",
    "test",
    "quarantined",
    "classes",
    "warnings",
    "computed",
    "reused",
    "block",
    "epochs",
    "val_loss",
    "val_accuracy",
    "accuracy",
    "log_loss",
    "blessed",
    "version",
)


class Console:
    """Writes to stderr: bars on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = rich.console.Console(stderr=True, highlight=False)
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._said = time.monotonic()

    def say(self, message: str) -> None:
        """One line of news."""
        self._console.print(message, markup=False, soft_wrap=True)

    def begin(self, name: str) -> None:
        """A stage starts."""
        if self._console.is_terminal:
            columns = (
                rich.progress.TextColumn("  {task.description:<24}"),
                rich.progress.BarColumn(30),
                rich.progress.TextColumn("{task.completed:.0f}/{task.total} {task.fields[note]}"),
                rich.progress.TimeElapsedColumn(),
            )
            self._bar = rich.progress.Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(name, total=None, note="")
            self._bar.start()
        self._said = time.monotonic()

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Where the running stage is."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._said > 15:
            self._said = time.monotonic()
            self.say(f"  {what} {done}/{total} {note}".rstrip())

    def end(self, name: str, status: str, seconds: float, stats: dict[str, Any]) -> None:
        """A stage is done."""
        self.stop()
        time_taken = f"{seconds:6.1f} s" if status == "ran" else " " * 8
        figures = "  ".join(
            f"{key} {_short(stats[key])}" for key in _SHOWN if stats.get(key) not in (None, [], 0)
        )
        self.say(f"{name:<28} {status:<7} {time_taken}  {figures}".rstrip())

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(len(value)) if isinstance(value, list) else str(value)
