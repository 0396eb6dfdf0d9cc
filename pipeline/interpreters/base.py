"""What all interpreters of the flow share: a call of a stage has a name and a fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from components.job import Job
from pipeline.store import Call

P = ParamSpec("P")
A = TypeVar("A")


@dataclass(frozen=True)
class Invocation:
    """A call of a stage, as the flow makes it.

    Attributes:
        name: the stage's, with its branch, such as `control.extract`.
        call: what its fingerprint is made of.
    """

    name: str
    call: Call
    stage: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def trains(self) -> bool:
        """Whether several hosts compute it together."""
        marks: Any = self.stage
        return bool(marks.trains)


@dataclass(frozen=True, kw_only=True)
class Interpreter(ABC):
    """Walks the flow, a stage at a time; see `flow.Run`."""

    prefix: str = ""

    def under(self, name: str) -> Self:
        """The same interpreter, in the branch called `name`."""
        return replace(self, prefix=f"{name}.")

    def __call__(
        self, stage: Callable[Concatenate[Job, P], A], *args: P.args, **kwargs: P.kwargs
    ) -> A:
        call = Call.of(stage, args, kwargs)
        return cast(
            A, self.interpret(Invocation(self.prefix + call.stage, call, stage, args, kwargs))
        )

    @abstractmethod
    def interpret(self, asked: Invocation) -> Any:
        """The stage's artifact, or what stands for it."""
