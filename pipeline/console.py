"""What is told while a run goes on, on stderr: to a person, or as JSON to what collects logs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from etils import epy

from components.section import duration
from pipeline.estimates import Estimate
from pipeline.events import line
from pipeline.records import Step

with epy.lazy_imports():
    from rich import console, live, padding, spinner, text

# So often long work is told of where there is no terminal; how wide a bar is.
_EVERY_SECONDS = 15
_BAR = 16


class Log(Protocol):
    """Told what happens in a run."""

    def open(
        self, recipe: str, planned: Sequence[Step], known: Mapping[str, Estimate], **facts: Any
    ) -> None:
        """A run begins: its stages, what each took when it last ran, and what else is known."""

    def say(self, message: str) -> None:
        """One line of news."""

    def begin(self, name: str) -> None:
        """A stage starts."""

    def remark(self, message: str) -> None:
        """News of the running stage."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Where the running stage is; how much of it there is to do is not known where `total`
        is 0."""

    def tell(self, event: str, level: str = "info", **facts: Any) -> None:
        """An event in the running stage; see `components.job.Tell`."""

    def end(self, step: Step, shown: tuple[str, ...] = (), remarks: tuple[str, ...] = ()) -> None:
        """A stage is done.

        Args:
            shown: statistics matter whose names begin like one of these.
            remarks: sentences that a person should read.
        """

    def close(self, outcome: str, **facts: Any) -> None:
        """The run has ended, and so."""

    def stop(self) -> None:
        """Nothing runs any more."""


def open_log(form: Literal["text", "json"]) -> Log:
    # Collected logs need no line for every other step.
    return JsonLines(_to_stderr, leave_out=("steps",)) if form == "json" else Console()


class Brief:
    """Tells of the stage at work, and not of those that are done."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def end(self, step: Step, shown: tuple[str, ...] = (), remarks: tuple[str, ...] = ()) -> None:
        del step, shown, remarks
        self._log.stop()


class Several:
    """Tells several logs the same."""

    def __init__(self, *logs: Log) -> None:
        self._logs = logs

    def open(
        self, recipe: str, planned: Sequence[Step], known: Mapping[str, Estimate], **facts: Any
    ) -> None:
        for log in self._logs:
            log.open(recipe, planned, known, **facts)

    def say(self, message: str) -> None:
        for log in self._logs:
            log.say(message)

    def begin(self, name: str) -> None:
        for log in self._logs:
            log.begin(name)

    def remark(self, message: str) -> None:
        for log in self._logs:
            log.remark(message)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        for log in self._logs:
            log.progress(what, done, total, note)

    def tell(self, event: str, level: str = "info", **facts: Any) -> None:
        for log in self._logs:
            log.tell(event, level, **facts)

    def end(self, step: Step, shown: tuple[str, ...] = (), remarks: tuple[str, ...] = ()) -> None:
        for log in self._logs:
            log.end(step, shown, remarks)

    def close(self, outcome: str, **facts: Any) -> None:
        for log in self._logs:
            log.close(outcome, **facts)

    def stop(self) -> None:
        for log in self._logs:
            log.stop()


class JsonLines:
    """An object a line: time, level, event, and what belongs to it.

    Args:
        write: takes a line.
        every: seconds between two lines of the progress of long work.
        leave_out: events that are not told of.
    """

    def __init__(
        self,
        write: Callable[[str], Any],
        every: float = _EVERY_SECONDS,
        leave_out: Collection[str] = (),
    ) -> None:
        self._write, self._every, self._leave_out = write, every, leave_out
        self._stage = ""
        self._said = time.monotonic()
        self._known: Mapping[str, Estimate] = {}

    def open(
        self, recipe: str, planned: Sequence[Step], known: Mapping[str, Estimate], **facts: Any
    ) -> None:
        self._known = known
        stages = [
            {"name": s.name, "status": s.status, "expected": self._expected(s.name)}
            for s in planned
        ]
        self._log("run began", recipe=recipe, stages=stages, **facts)

    def say(self, message: str) -> None:
        if message:
            self._log("message", message=message)

    def begin(self, name: str) -> None:
        self._stage, self._said = name, time.monotonic()
        self._log("stage began", stage=name, expected=self._expected(name))

    def remark(self, message: str) -> None:
        self._log("message", stage=self._stage, message=message)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self._said > self._every:
            self._said = time.monotonic()
            self._log("progress", stage=self._stage, work=what, done=done, total=total, note=note)

    def tell(self, event: str, level: str = "info", **facts: Any) -> None:
        if event not in self._leave_out:
            self._write(line(level, event, {"stage": self._stage, **facts}))

    def end(self, step: Step, shown: tuple[str, ...] = (), remarks: tuple[str, ...] = ()) -> None:
        del shown
        self._log(
            "stage ended",
            stage=step.name,
            status=step.status,
            seconds=step.seconds,
            artifact="/".join(step.artifact.split("/")[-2:]),
            stats=step.stats,
            remarks=remarks,
        )

    def close(self, outcome: str, **facts: Any) -> None:
        self._log("run ended", outcome=outcome, **facts)

    def stop(self) -> None:
        pass

    def _log(self, event: str, **facts: Any) -> None:
        self._write(line("info", event, facts))

    def _expected(self, name: str) -> float | None:
        before = self._known.get(name)
        return before.seconds if before else None


def print_json(value: Any) -> None:
    """One line on stdout, for `--json`."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")


def log_json(level: str, event: str, **facts: Any) -> None:
    """One line on stderr."""
    _to_stderr(line(level, event, facts))


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


class Console:
    """A line that moves on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = console.Console(stderr=True, highlight=False)
        self._names: list[str] = []
        self._known: Mapping[str, Estimate] = {}
        self._running: Running | None = None
        self._live: live.Live | None = None
        self._said = time.monotonic()

    def open(
        self, recipe: str, planned: Sequence[Step], known: Mapping[str, Estimate], **facts: Any
    ) -> None:
        del facts
        self._names, self._known = [step.name for step in planned], known
        left = [step.name for step in planned if step.status == "would run"]
        reused = len(planned) - len(left)
        told = [f"{recipe}: {len(planned)} stages"]
        if reused:
            told.append(f"{reused} of them reused")
        if left and all(name in known for name in left):
            took = duration(sum(known[name].seconds for name in left))
            told.append(f"the {'others' if reused else 'stages'} took {took} the last time")
        self.say(", ".join(told))

    def say(self, message: str) -> None:
        """On a terminal words are kept whole, and further lines stand as the first one does."""
        bare = message.lstrip()
        if self._console.is_terminal:
            indented = (0, 0, 0, len(message) - len(bare))
            self._console.print(padding.Padding(text.Text(bare), indented))
        else:
            self._console.print(message, markup=False, soft_wrap=True)

    def begin(self, name: str) -> None:
        before = self._known.get(name)
        self._running = Running(self._numbered(name), before.seconds if before else None)
        if self._console.is_terminal:
            self._live = live.Live(
                self._running, console=self._console, transient=True, refresh_per_second=8
            )
            self._live.start()
        elif before and before.seconds > 4 * _EVERY_SECONDS:
            self.say(f"{self._numbered(name)} … took {duration(before.seconds)} the last time")
        self._said = time.monotonic()

    def remark(self, message: str) -> None:
        self.say(f"      {message}")

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        running = self._running or Running("", None)
        running.at(what, done, total, note)
        if self._live is None and time.monotonic() - self._said > _EVERY_SECONDS:
            self._said = time.monotonic()
            self.say(f"      {running.words()}")

    def end(self, step: Step, shown: tuple[str, ...] = (), remarks: tuple[str, ...] = ()) -> None:
        self.stop()
        ran = step.status in ("ran", "helped")
        time_taken = f"{step.seconds:6.1f} s" if ran else " " * 8
        figures = "  ".join(
            f"{key} {_short(value)}"
            for beginning in shown
            for key, value in step.stats.items()
            if key.startswith(beginning) and (value is False or value not in (None, [], 0))
        )
        width = max(map(len, map(self._numbered, self._names or [step.name])))
        line = f"{self._numbered(step.name):<{width}}  {step.status:<7} {time_taken}  {figures}"
        self._console.print(
            line.rstrip(),
            markup=False,
            no_wrap=True,
            overflow="ellipsis" if self._console.is_terminal else "ignore",
            crop=self._console.is_terminal,
        )
        for remark in remarks:
            self.remark(remark)

    def tell(self, event: str, level: str = "info", **facts: Any) -> None:
        """What a person is to know at once; figures are in the line that moves."""
        if event == "alert":
            self.remark(f"{level.capitalize()}: {facts['message']}.")

    def close(self, outcome: str, **facts: Any) -> None:
        """The command says what came of it."""

    def stop(self) -> None:
        self._running = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _numbered(self, name: str) -> str:
        """The stage with its number, once it is known how many there are."""
        if name not in self._names:
            return name
        count = len(self._names)
        number = f"{self._names.index(name) + 1}/{count}"
        return f"{number:>{2 * len(str(count)) + 1}} {name}"


class Running:
    """The stage at work, as one line of a terminal: a spinner where no total is known.

    Args:
        title: its number and name.
        expected: the seconds that it took the last time; None where that is not known.
    """

    def __init__(self, title: str, expected: float | None) -> None:
        self._title, self._expected = title, expected
        self._began = time.monotonic()
        self._first = (self._began, 0)
        self._what, self._done, self._total, self._note = "", 0, 0, ""
        self._spinner = spinner.Spinner("dots")

    def at(self, what: str, done: int, total: int, note: str) -> None:
        if total != self._total or done < self._done:
            # The first of it was not done since the stage began, but may have been compiled.
            self._first = (time.monotonic(), done)
        self._what, self._done, self._total, self._note = what, done, total, note

    def words(self) -> str:
        """What it does, and how far it is."""
        if not self._is_counted:
            return self._what if self._total == 0 else "finishing"
        count = f"{self._done}/{self._total} {self._what}".rstrip()
        return f"{count}, {self._note}" if self._note else count

    @property
    def _is_counted(self) -> bool:
        return 0 < self._done < self._total

    def left(self) -> float | None:
        """Seconds, by how fast it goes, or else by what it took before; None where unknown."""
        now = time.monotonic()
        began, first = self._first
        if self._is_counted and self._done > first:
            return (now - began) * (self._total - self._done) / (self._done - first)
        if self._expected is None:
            return None
        return max(0.0, self._expected - (now - self._began)) or None

    def __rich_console__(self, terminal: Any, options: Any) -> Iterator[Any]:
        """One line, whatever the width is."""
        elapsed = time.monotonic() - self._began
        clock = duration(elapsed)
        if (left := self.left()) is not None:
            clock += f", ~{duration(left)} left"
        frame: Any = self._spinner.render(time.monotonic())
        line = text.Text.assemble(frame, f" {self._title}  ")
        if self._is_counted:
            filled = round(_BAR * self._done / self._total)
            line.append("━" * filled, "cyan").append("━" * (_BAR - filled), "bright_black")
            line.append("  ")
        line.append(f"{clock}  ").append(self.words(), "bright_black")
        line.truncate(options.max_width, overflow="ellipsis")
        line.no_wrap = True
        yield line


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(len(value)) if isinstance(value, list) else str(value)
