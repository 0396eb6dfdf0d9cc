"""Who may ask the studio: a browser on this machine that was given the token."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What a page may do: load from here, and nothing from anywhere else.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_FRAME = "frame-ancestors 'self'"
# Pages of this machine, such as a notebook, whatever their port.
_HERE = "http://localhost:* http://127.0.0.1:*"
_SAFE = ("GET", "HEAD")


class Guard:
    """Lets through what comes from the page itself, and refuses the rest in a line.

    A foreign page can have a browser send requests here: its Origin is another one. A foreign
    name can be made to mean this machine (DNS rebinding): its Host is another one. Other users of
    this machine have no token, which the browser keeps in a cookie that no script can read.

    Args:
        token: is asked for.
        hosts: the names, with their port, under which the studio is at home.
        read_only: nothing may be changed.
        framed: other pages of this machine, such as a notebook, may show it in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        hosts: Collection[str],
        read_only: bool = False,
        framed: bool = False,
    ) -> None:
        self._app, self._token = app, token
        self._framed = framed
        self._hosts, self._read_only = frozenset(hosts), read_only
        port = next(iter(self._hosts)).rpartition(":")[2]
        self._cookie = f"shoulders-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, self._with_headers(send))
            return
        await self._app(scope, receive, self._with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self._hosts:
            return _no(403, f"Host must be {' or '.join(sorted(self._hosts))}, got {host!r}")
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return _no(403, f"Origin must be that of the studio, got {origin!r}")
        # A link from elsewhere may open a page; it may not ask for anything else.
        foreign = headers.get("sec-fetch-site") == "cross-site"
        if foreign and headers.get("sec-fetch-mode") != "navigate":
            return _no(403, "Sec-Fetch-Site must be same-origin, got 'cross-site'")
        if self._read_only and scope["method"] not in _SAFE:
            return _no(403, "the studio was started with --read-only")
        given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["method"] == "GET" and self._is_token(given.get("token")):
            return self._welcome(scope["path"], given)
        if not (self._is_token(self._of_cookie(headers)) or self._is_token(_bearer(headers))):
            return _no(401, "the token must be given: open the URL that the studio has printed")
        return None

    def _welcome(self, path: str, given: dict[str, str]) -> Response:
        """The token goes into a cookie, and out of the address, which is seen and kept."""
        rest = urlencode({k: v for k, v in given.items() if k != "token"})
        # No other host: what begins with two slashes would be one.
        there = "/" + path.lstrip("/") + (f"?{rest}" if rest else "")
        response = RedirectResponse(there, status_code=303)
        response.set_cookie(
            self._cookie, self._token, httponly=True, samesite="strict", max_age=30 * 86_400
        )
        return response

    def _of_cookie(self, headers: Headers) -> str | None:
        # As browsers write them: those of other programs on this machine are among them.
        return cookie_parser(headers.get("cookie", "")).get(self._cookie)

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _with_headers(self, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                policy = headers.setdefault("content-security-policy", PAGE_POLICY)
                if self._framed and policy.endswith(_FRAME):
                    # All that a page shows in frames of its own is in the notebook's frame, too.
                    headers["content-security-policy"] = f"{policy} {_HERE}"
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-resource-policy"] = "same-origin"
            await send(message)

        return with_headers


def _bearer(headers: Headers) -> str | None:
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value if kind.lower() == "bearer" else None


def _no(status: int, why: str) -> Response:
    return PlainTextResponse(why + "\n", status_code=status)
