"""How the studio answers: in JSON, and without one request holding up another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
from starlette.responses import JSONResponse, Response

from pipeline.events import finite

T = TypeVar("T")

# A page that was written before, with what it needs in it: it may run that, and ask for nothing.
SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; media-src data:; frame-ancestors 'self'"
)


class FiniteJSONResponse(JSONResponse):
    """JSON, with null for what is no finite number, such as a loss that has diverged."""

    def render(self, content: Any) -> bytes:
        try:
            return super().render(content)
        except ValueError:
            return super().render(finite(content))


async def as_json(read: Callable[..., Any], *given: Any) -> Response:
    """What `read` gives, as JSON."""
    return await aside(lambda: FiniteJSONResponse(read(*given)))


async def aside(work: Callable[..., T], *given: Any) -> T:
    """In a thread: a disk that is slow holds up nobody else."""
    return await anyio.to_thread.run_sync(work, *given)


def mistaken(why: str, status: int = 400) -> Response:
    """What is wrong with a request."""
    return JSONResponse({"error": why}, status_code=status)
