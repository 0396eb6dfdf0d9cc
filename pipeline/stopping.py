"""How a run is told to stop: by SIGTERM, by Ctrl-C, or at its deadline."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

from components.section import seconds_of

# After so many seconds it is told again: what is raised in a callback of C code, such as the
# garbage collector's, is lost.
_AGAIN = 5.0


class Stopped(BaseException):
    """The process was told to stop."""


class Interrupted(Stopped):
    """It was a person who did, with Ctrl-C."""


def on_signals() -> None:
    """Raise `Stopped` in the main thread when the process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: _stop(Stopped()))
    # Python's own KeyboardInterrupt is raised once, and may be lost.
    signal.signal(signal.SIGINT, lambda *_: _stop(Interrupted()))


def has_stopped() -> None:
    """`Stopped` has been caught: it need not be told again."""
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def deadline(duration: str) -> Iterator[None]:
    """Raise `Stopped` in the main thread after `duration`; never where it is empty."""
    if not duration:
        yield
        return
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
