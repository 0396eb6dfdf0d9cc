"""What a stage is, and what the runner hands it besides its artifacts and its config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


class Section(BaseModel):
    """A section of the config: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _NotHashed:
    """Marks a config field that is not what its stage computes: its name for what comes from
    outside, which is hashed itself, or something that another stage reads."""


NOT_HASHED = _NotHashed()
UnhashedBool = Annotated[bool, NOT_HASHED]
UnhashedStr = Annotated[str, NOT_HASHED]


class Progress(Protocol):
    """Told how far long work is."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """Where a stage writes, and how it runs; nothing here may change what it computes.

    Attributes:
        directory: empty, and the artifact's when the stage returns.
        activations: the store of activations, shared by all runs.
        scratch: survives a killed run until the stage is done; for resumable state.
        progress: told how far long work is.
        beam_runner: a Beam runner's name; None for the local one.
        beam_options: Beam's own command-line options.
    """

    directory: Path
    activations: Path
    scratch: Path
    progress: Progress
    beam_runner: str | None = None
    beam_options: tuple[str, ...] = field(default=())

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """`items`, telling the progress how many have been gone through."""
        for done, item in enumerate(items, start=1):
            yield item
            self.progress(what, done, total)


def stage(
    version: int,
) -> Callable[[Callable[Concatenate[Job, P], A]], Callable[Concatenate[Job, P], A]]:
    """Mark a function as a stage; a new `version` says that old results are void."""

    def mark(function: Callable[Concatenate[Job, P], A]) -> Callable[Concatenate[Job, P], A]:
        marked: Any = function
        marked.stage_version = version
        return function

    return mark
