"""How a run is told to stop: by SIGTERM, or at its deadline."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from typing import NoReturn

_UNITS = {"h": 3600, "m": 60, "s": 1}
# After so many seconds it is told again: what is raised in a callback of C code, such as the
# garbage collector's, is lost.
_AGAIN = 5.0


class Stopped(BaseException):
    """The process was told to stop."""


def on_sigterm() -> None:
    """Raise `Stopped` in the main thread when the process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: _stop(""))


def has_stopped() -> None:
    """`Stopped` has been caught: it need not be told again."""
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def deadline(duration: str) -> Iterator[None]:
    """Raise `Stopped` in the main thread after `duration`; never where it is empty."""
    if not duration:
        yield
        return
    _tell_after(seconds_of(duration), f"stopped at the deadline of {duration}")
    try:
        yield
    finally:
        has_stopped()


def seconds_of(duration: str) -> int:
    """`1h30m` → 5400; 0 where it is no duration."""
    if not re.fullmatch(r"(\d+h)?(\d+m)?(\d+s)?", duration):
        return 0
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([hms])", duration))


def _tell_after(seconds: float, why: str) -> None:
    signal.signal(signal.SIGALRM, lambda *_: _stop(why))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _stop(why: str) -> NoReturn:
    _tell_after(_AGAIN, why)
    raise Stopped(why)
