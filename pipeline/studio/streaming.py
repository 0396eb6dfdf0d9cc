"""A file of events as a browser follows it: server-sent events, from any offset on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import StreamingResponse

from models.mistakes import Mistake
from pipeline.studio.answers import aside
from pipeline.studio.following import new_lines

# A file that is written is looked at so often, and less often the more browsers there are: what
# they are told takes a share of the processor that a run beside needs.
_LOOK_SECONDS, _OF_EACH_SECONDS = 0.25, 0.05
# Bytes that are read at once; where it is less, a file was read to its end.
_AT_ONCE = 1 << 20
# A stream with nothing to tell says so.
_ALIVE_SECONDS = 15.0
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


class Streams:
    """All that is followed.

    Browsers look at the same moments, so that what is new is read once for all of them, and that
    a run is interrupted once.
    """

    def __init__(self) -> None:
        self._browsers = 0
        self._asked: dict[Path, tuple[float, asyncio.Future[bool]]] = {}

    def response(
        self, request: Request, path: Path, may_tell: Callable[[], bool]
    ) -> StreamingResponse:
        """The events of a file, from where the browser is.

        Args:
            may_tell: whether there may be more.
        """
        stream = self._follow(path, offset_of(request), may_tell)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _follow(
        self, path: Path, offset: int, may_tell: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Each line from `offset` on; the id of each is the offset after it.

        A slow browser is waited for, and nobody else waits for it: what is new is in the file. It
        ends with `over`, where nothing more will come.
        """
        quiet, ended, over = 0.0, False, False
        self._browsers += 1
        try:
            yield "retry: 1000\n\n"
            while True:
                text, offset, last = _new(path, offset)
                if text:
                    yield text
                    quiet, ended = 0.0, last
                    if not ended and len(text) < _AT_ONCE:
                        await self._next_look()
                    continue
                if ended or over:
                    yield "event: over\ndata: {}\n\n"
                    return
                # Before another look at the file: what is written until then is read.
                over = not await self._may_tell(path, may_tell)
                quiet += await self._next_look()
                if quiet >= _ALIVE_SECONDS:
                    quiet = 0.0
                    yield ": nothing new\n\n"
        finally:
            self._browsers -= 1
            self._asked.pop(path, None)  # What comes there next is asked about anew.

    async def _next_look(self) -> float:
        """Wait for it; the seconds that were waited."""
        every = max(_LOOK_SECONDS, _OF_EACH_SECONDS * self._browsers)
        wait = every - asyncio.get_running_loop().time() % every
        await asyncio.sleep(wait)
        return wait

    async def _may_tell(self, path: Path, ask: Callable[[], bool]) -> bool:
        """What is asked of a file now and then, for whoever follows it."""
        now = asyncio.get_running_loop().time()
        at, answer = self._asked.get(path, (0.0, None))
        if answer is None or now - at >= _ASK_SECONDS:
            answer = asyncio.ensure_future(aside(ask))
            self._asked[path] = now, answer
        # A browser that goes away takes the answer from nobody.
        return await asyncio.shield(answer)


def _new(path: Path, offset: int) -> tuple[str, int, bool]:
    """What is new in a file, where to go on, and whether it was the last of all."""
    try:
        now = path.stat()
        if now.st_size > offset:
            return _told(path, offset, now.st_size, now.st_mtime_ns)
    except FileNotFoundError:
        pass
    return "", offset, False


@functools.lru_cache(maxsize=8)
def _told(path: Path, offset: int, size: int, written: int) -> tuple[str, int, bool]:
    """What is new in a file as it is now.

    All lines are sent at once, as a message for each would be many for each browser; browsers that
    are as far share it. The file is in the kernel's memory still, and no thread waits for it.
    """
    del size, written
    lines, offset = new_lines(path, offset, _AT_ONCE)
    text = "".join(f"id: {at}\ndata: {line}\n\n" for at, line in lines)
    return text, offset, bool(lines) and _ENDED in lines[-1][1]
