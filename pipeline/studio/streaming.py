"""A file of events as a browser follows it: server-sent events, from any offset on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.requests import Request

from models.mistakes import Mistake
from pipeline.studio.answers import aside
from pipeline.studio.following import new_lines

# A file that is written is looked at so often; a stream with nothing to tell says so.
_LOOK_SECONDS, _ALIVE_SECONDS = 0.2, 15.0
# So often is asked whether there will be more, where nothing is new.
_ASK_SECONDS = 1.0
# The last event of all.
_ENDED = '"event": "run ended"'


def offset_of(request: Request) -> int:
    """Where a browser is to go on: that is its id of the event that it had last."""
    given = request.headers.get("last-event-id") or request.query_params.get("from", "0")
    if not given.isdecimal():
        raise Mistake(f"from must be an offset, got {given!r}")
    return int(given)


@functools.lru_cache(maxsize=8)
def _read(path: Path, offset: int, written: int) -> tuple[list[tuple[int, str]], int]:
    """The lines of a file that was written then; browsers that are as far share what is read.

    It is in the kernel's memory still, and no thread waits for it.
    """
    del written
    return new_lines(path, offset)


async def events(path: Path, offset: int, may_tell: Callable[[], bool]) -> AsyncIterator[str]:
    """Each line from `offset` on; the id of each is the offset after it.

    A slow browser is waited for, and nobody else waits for it: what is new is in the file. It ends
    with `over`, where nothing more will come.

    Args:
        may_tell: whether there may be more.
    """
    quiet, ended, over = 0.0, False, False
    yield "retry: 1000\n\n"
    while True:
        try:
            now = path.stat()
            new = now.st_size > offset
            lines, offset = _read(path, offset, now.st_mtime_ns) if new else ([], offset)
        except FileNotFoundError:
            lines = []
        if lines:
            # At once: a message for each would be many for each browser.
            yield "".join(f"id: {at}\ndata: {text}\n\n" for at, text in lines)
            quiet, ended = 0.0, _ENDED in lines[-1][1]
            continue
        if ended or over:
            yield "event: over\ndata: {}\n\n"
            return
        if quiet % _ASK_SECONDS < _LOOK_SECONDS:
            # Before another look at the file: what is written until then is read.
            over = not await aside(may_tell)
        await asyncio.sleep(_LOOK_SECONDS)
        quiet += _LOOK_SECONDS
        if quiet >= _ALIVE_SECONDS:
            quiet = 0.0
            yield ": nothing new\n\n"
