"""What a request carries, as long as that is not too much."""

from __future__ import annotations

from starlette.requests import Request

MOST_BYTES = 64 << 20


class TooLarge(Exception):
    """The body of a request has more bytes than are read."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the body must have at most {most} bytes")


async def read(request: Request, most: int = MOST_BYTES) -> bytes:
    """All of the body.

    Raises:
        TooLarge: it has more than `most` bytes; before they are all here.
    """
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > most:
        raise TooLarge(most)
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise TooLarge(most)
    return bytes(found)
