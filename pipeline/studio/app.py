"""The studio's server: pages, and what they ask for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from models.mistakes import Mistake
from models.version import described
from pipeline.store import Store, StoreIsHeld
from pipeline.studio import bodies
from pipeline.studio.following import new_lines
from pipeline.studio.guard import Guard
from pipeline.studio.registry import Registry
from pipeline.studio.shelf import Missing, Shelf

T = TypeVar("T")


_STATIC = Path(__file__).parent / "static"
# A file that is written is looked at so often; a stream with nothing to tell says so.
_MOST_BYTES = 64 << 20
_ROLLBACK = 'the body must be {"to": VERSION, "reason": WHY}'
_LOOK_SECONDS, _ALIVE_SECONDS = 0.2, 15.0
# So often the record of a run is, where nothing is new.
_RECORD_SECONDS = 1.0
# The last event of a run, and how long after its record it may come.
_ENDED, _AFTER_SECONDS = '"event": "run ended"', 5.0
# A report is a page of its own, with what it needs in it: it may run that, and ask for nothing.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; media-src data:; frame-ancestors 'self'"
)


def create(store: Store, *, token: str, hosts: list[str], read_only: bool = False) -> Starlette:
    """The application.

    Args:
        hosts: names with a port under which it is asked, such as `127.0.0.1:8787`.
        read_only: nothing may be changed by it.
    """
    api = Api(Shelf(store), Registry(store), read_only=read_only)
    routes = [
        Route("/api/about", api.about),
        Route("/api/runs", api.runs),
        Route("/api/sparklines", api.sparklines),
        Route("/api/runs/{run_id}", api.run),
        Route("/api/runs/{run_id}/events", api.events),
        Route("/api/runs/{run_id}/end", api.end, methods=["POST"]),
        Route("/api/models", api.models),
        Route("/api/models/{model}/rollback", api.roll_back, methods=["POST"]),
        Route("/api/models/{model}/{version:int}/check", api.check, methods=["POST"]),
        Route("/api/models/{model}/{version:int}/ask", api.ask, methods=["POST"]),
        Route("/runs/{run_id}/report", api.report),
        Route("/compare", api.compare),
        # What the address says is for the page to show.
        Route("/", _page),
        Route("/runs/{run_id}", _page),
        Route("/models", _page),
        Route("/models/{model}", _page),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    guard = Middleware(Guard, token=token, hosts=hosts, read_only=read_only)
    return Starlette(
        routes=routes,
        middleware=[guard],
        exception_handlers={
            Missing: _missing,
            Mistake: _mistaken,
            StoreIsHeld: _mistaken,
            bodies.TooLarge: _too_large,
        },
    )


class Api:
    """What pages ask for."""

    def __init__(self, shelf: Shelf, registry: Registry, *, read_only: bool) -> None:
        self._shelf, self._registry, self._read_only = shelf, registry, read_only

    async def about(self, request: Request) -> Response:
        """Where this is."""
        del request
        root = self._shelf.store.root
        return JSONResponse(
            {"store": str(root), "version": described(), "read_only": self._read_only}
        )

    async def runs(self, request: Request) -> Response:
        """All runs, a row each."""
        del request
        return await _json(self._shelf.runs)

    async def sparklines(self, request: Request) -> Response:
        """Those of the runs that are named: `?run=A&run=B`."""
        names = request.query_params.getlist("run")[:100]
        return await _json(self._shelf.sparklines, names)

    async def run(self, request: Request) -> Response:
        """One run, with all that has happened in it."""
        return await _json(self._shelf.run, request.path_params["run_id"])

    async def end(self, request: Request) -> Response:
        """Have a stage end its training: `{"stage": NAME}`."""
        try:
            stage = str(json.loads(await bodies.read(request, _MOST_BYTES))["stage"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": 'the body must be {"stage": NAME}'}, status_code=400)
        await _aside(self._shelf.end, request.path_params["run_id"], stage)
        return JSONResponse({"asked": stage})

    async def report(self, request: Request) -> Response:
        """The page of a run, by itself."""
        path = await _aside(self._shelf.report, request.path_params["run_id"])
        return FileResponse(
            path,
            media_type="text/html; charset=utf-8",
            headers={"content-security-policy": _REPORT_POLICY},
        )

    async def compare(self, request: Request) -> Response:
        """A page with runs side by side, each beside the first: `?run=A&run=B`."""
        names = request.query_params.getlist("run")
        if len(names) < 2:
            raise Mistake(f"run must be two runs or more, got {len(names)}")
        page = await _aside(self._shelf.compared, names)
        return HTMLResponse(page, headers={"content-security-policy": _REPORT_POLICY})

    async def models(self, request: Request) -> Response:
        """All models with their versions."""
        del request
        return await _json(self._registry.models)

    async def ask(self, request: Request) -> Response:
        """What a version says of the example in the body: its bytes, or a text."""
        raw = await bodies.read(request, _MOST_BYTES)
        params = request.path_params
        return await _json(self._registry.ask, params["model"], params["version"], raw)

    async def check(self, request: Request) -> Response:
        """Whether a version still says what it said when it was exported."""
        params = request.path_params
        count = await _aside(self._registry.check, params["model"], params["version"])
        return JSONResponse({"same": count})

    async def roll_back(self, request: Request) -> Response:
        """Publish an earlier version again: `{"to": VERSION, "reason": WHY}`."""
        try:
            asked = json.loads(await bodies.read(request, _MOST_BYTES))
            to, reason = int(asked["to"]), str(asked["reason"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": _ROLLBACK}, status_code=400)
        number = await _aside(self._registry.roll_back, request.path_params["model"], to, reason)
        return JSONResponse({"version": number})

    async def events(self, request: Request) -> Response:
        """What happens in a run, from an offset of its file on, as server-sent events.

        The id of each is the offset after it, so that a browser that comes again goes on there.
        """
        run_id = request.path_params["run_id"]
        path = await _aside(self._shelf.events, run_id)
        given = request.headers.get("last-event-id") or request.query_params.get("from", "0")
        if not given.isdecimal():
            return JSONResponse({"error": f"from must be an offset, got {given!r}"}, 400)
        stream = self._stream(run_id, path, int(given))
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _stream(self, run_id: str, path: Path, offset: int) -> AsyncIterator[str]:
        """A slow browser is waited for, and nobody else waits for it: what is new is in the file.

        It ends with `over`, where nothing more will come.
        """
        quiet, ended, over = 0.0, False, False
        yield "retry: 1000\n\n"
        while True:
            try:
                new = path.stat().st_size > offset
                lines, offset = await _aside(new_lines, path, offset) if new else ([], offset)
            except FileNotFoundError:
                lines = []
            for at, text in lines:
                yield f"id: {at}\ndata: {text}\n\n"
            if lines:
                quiet, ended = 0.0, _ENDED in lines[-1][1]
                continue
            if ended or over:
                yield "event: over\ndata: {}\n\n"
                return
            if quiet % _RECORD_SECONDS < _LOOK_SECONDS:
                # Before another look at the file: what is written until then is read.
                over = not await _aside(self._may_tell, run_id)
            await asyncio.sleep(_LOOK_SECONDS)
            quiet += _LOOK_SECONDS
            if quiet >= _ALIVE_SECONDS:
                quiet = 0.0
                yield ": nothing new\n\n"

    def _may_tell(self, run_id: str) -> bool:
        """Whether a run may have more to tell.

        The record says what became of a run a moment before the last event does.
        """
        try:
            record = self._shelf.record(run_id)
            written = (self._shelf.store.runs / f"{run_id}.json").stat().st_mtime
        except (Missing, OSError):  # It was deleted while it was watched.
            return False
        just_now = time.time() - written < _AFTER_SECONDS
        return record.became == "running" or (record.outcome != "running" and just_now)


async def _page(request: Request) -> Response:
    del request
    return FileResponse(_STATIC / "index.html")


async def _missing(request: Request, error: Exception) -> Response:
    del request
    return JSONResponse({"error": str(error)}, status_code=404)


async def _too_large(request: Request, error: Exception) -> Response:
    del request
    return JSONResponse({"error": str(error)}, status_code=413)


async def _mistaken(request: Request, error: Exception) -> Response:
    del request
    return PlainTextResponse(f"{error}\n", status_code=400)


async def _json(read: Callable[..., Any], *given: Any) -> Response:
    return await _aside(lambda: JSONResponse(read(*given)))


async def _aside(work: Callable[..., T], *given: Any) -> T:
    """In a thread: a disk that is slow holds up nobody else."""
    return await anyio.to_thread.run_sync(work, *given)
