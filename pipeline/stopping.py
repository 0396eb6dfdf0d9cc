"""How a run is told to stop: by SIGTERM, by Ctrl-C, or at its deadline."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from components.disk import is_of_disk
from components.section import seconds_of

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# After so many seconds it is told again: what is raised in a callback of C code may be lost.
_AGAIN = 5.0
# After so many where it is known to be lost: in a finalizer or a callback of the garbage collector.
_SOON = 0.05


class Stopped(BaseException):
    """The process was told to stop."""


class Interrupted(Stopped):
    """It was a person who did, with Ctrl-C."""


def on_signals() -> None:
    """Raise `Stopped` in the main thread when the process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: _stop(Stopped()))
    # Python's own KeyboardInterrupt is raised once, and may be lost.
    signal.signal(signal.SIGINT, lambda *_: _stop(Interrupted()))
    _hear_of_losses()


def stopped_by(error: BaseException) -> Stopped | None:
    """What told it to stop, where `error` is that or came of it.

    A library that is left in the middle may complain of that: TensorFlow of graphs that are not
    closed in their order, C++ of a result that came with an exception.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, Stopped):
        seen = seen.__cause__ or seen.__context__
    return seen


def has_stopped() -> None:
    """`Stopped` has been caught: it need not be told again."""
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def deadline(duration: str) -> Iterator[None]:
    """Raise `Stopped` in the main thread after `duration`; never where it is empty."""
    if not duration:
        yield
        return
    _hear_of_losses()
    _tell_after(seconds_of(duration), Stopped(f"stopped at the deadline of {duration}"))
    try:
        yield
    finally:
        has_stopped()


def _tell_after(seconds: float, what: Stopped) -> None:
    signal.signal(signal.SIGALRM, lambda *_: _stop(what))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _stop(what: Stopped) -> NoReturn:
    _tell_after(_AGAIN, what)
    raise what


class _Losses:
    """What Python ignores: it is told again as soon as that which lost it is over."""

    def __init__(self) -> None:
        self._before = sys.unraisablehook

    def __call__(self, lost: UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, Stopped):
            _tell_after(_SOON, lost.exc_value)
        elif not is_of_disk(lost.exc_value):
            self._before(lost)  # Of a full disk it was raised; HDF5 says it of all its parts again.


def _hear_of_losses() -> None:
    if not isinstance(sys.unraisablehook, _Losses):
        sys.unraisablehook = _Losses()
