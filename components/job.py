"""What a stage is, and what the runner hands it besides its artifacts and its config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from components.artifacts import Artifact
from components.section import BeamConfig

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


class Progress(Protocol):
    """Told how far long work is; `total` is 0 where nobody knows."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None: ...


class Pruned(Exception):
    """What is being trained is not worth to be trained on."""


class Tell(Protocol):
    """Told of an event in a stage: its name, and what belongs to it as JSON has it."""

    def __call__(self, event: str, level: str = "info", **facts: Any) -> None: ...


def nobody(event: str, level: str = "info", **facts: Any) -> None:
    """Nobody listens; who does may raise `Pruned`."""


def silence(_: str) -> None:
    """Nobody listens."""


def unwatched(what: str, done: int, total: int, note: str = "") -> None:
    """Nobody looks how far it is."""


def no_earlier() -> Iterator[Artifact]:
    """A stage has made nothing yet."""
    return iter(())


@dataclass(frozen=True, kw_only=True)
class Job:
    """Where a stage writes, and how it runs; nothing here may change what it computes.

    Attributes:
        directory: empty, and the artifact's when the stage returns.
        activations: the store of activations, shared by all runs.
        scratch: survives a killed run until the stage is done; for resumable state.
        progress: told how far long work is.
        say: told what a person should know before it is done, a line.
        tell: told of the events of training: `phase began`, `steps`, `epoch`, `alert`, `phase
            ended`.
        end: a file; where it is, a person wants training to end with the best so far.
        beam: what runs the data stages.
        earlier: → what this stage has made of other arguments, the last first: for what it has
            found out already.
    """

    directory: Path
    activations: Path
    scratch: Path
    progress: Progress = unwatched
    say: Callable[[str], None] = silence
    tell: Tell = nobody
    end: Path | None = None
    beam: BeamConfig = field(default_factory=BeamConfig)
    earlier: Callable[[], Iterator[Artifact]] = no_earlier

    def is_to_end(self) -> bool:
        """Whether a person wants training to end."""
        return self.end is not None and self.end.exists()

    def doing(self, what: str) -> None:
        """Work of which nobody knows how much there is."""
        self.progress(what, 0, 0)

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """`items`, telling the progress how many have been gone through."""
        for done, item in enumerate(items, start=1):
            yield item
            self.progress(what, done, total)


def stage(
    version: int,
    *,
    any_backend: bool = False,
    trains: bool = False,
    one_at_a_time: bool = False,
    plain: bool = False,
) -> Callable[[Callable[Concatenate[Job, P], A]], Callable[Concatenate[Job, P], A]]:
    """Mark a function as a stage; a new `version` says that old results are void.

    Args:
        any_backend: it computes on whatever backend Keras has; all others are for TensorFlow.
        trains: several hosts compute it together.
        plain: it needs no TensorFlow.
        one_at_a_time: what it writes besides its artifact is shared by the branches of a run.
    """

    def mark(function: Callable[Concatenate[Job, P], A]) -> Callable[Concatenate[Job, P], A]:
        marked: Any = function
        marked.stage_version = version
        marked.any_backend, marked.one_at_a_time = any_backend, one_at_a_time
        marked.trains, marked.plain = trains, plain
        return function

    return mark
