"""What pages ask of runs."""

from __future__ import annotations

import json
import time

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from models.mistakes import Mistake
from pipeline.studio import bodies
from pipeline.studio.answers import SANDBOX, as_json, aside, mistaken
from pipeline.studio.shelf import Missing, Shelf
from pipeline.studio.streaming import Streams

# The last event of a run may come so long after its record.
_AFTER_SECONDS = 5.0


class OfRuns:
    """The list, one run, and its events."""

    def __init__(self, shelf: Shelf, streams: Streams) -> None:
        self._shelf, self._streams = shelf, streams

    def routes(self) -> list[Route]:
        """Where it is asked."""
        return [
            Route("/api/runs", self.runs),
            Route("/api/sparklines", self.sparklines),
            Route("/api/runs/{run_id}", self.run),
            Route("/api/runs/{run_id}/events", self.events),
            Route("/api/runs/{run_id}/end", self.end, methods=["POST"]),
            Route("/runs/{run_id}/report", self.report),
            Route("/compare", self.compare),
        ]

    async def runs(self, request: Request) -> Response:
        """All runs, a row each."""
        del request
        return await as_json(self._shelf.runs)

    async def sparklines(self, request: Request) -> Response:
        """Those of the runs that are named: `?run=A&run=B`."""
        names = request.query_params.getlist("run")[:100]
        return await as_json(self._shelf.sparklines, names)

    async def run(self, request: Request) -> Response:
        """One run, with all that has happened in it."""
        return await as_json(self._shelf.run, request.path_params["run_id"])

    async def end(self, request: Request) -> Response:
        """Have a stage end its training: `{"stage": NAME}`."""
        try:
            stage = str(json.loads(await bodies.read(request))["stage"])
        except (ValueError, KeyError, TypeError):
            return mistaken('the body must be {"stage": NAME}')
        await aside(self._shelf.end, request.path_params["run_id"], stage)
        return JSONResponse({"asked": stage})

    async def report(self, request: Request) -> Response:
        """The page of a run, by itself."""
        path = await aside(self._shelf.report, request.path_params["run_id"])
        return FileResponse(
            path,
            media_type="text/html; charset=utf-8",
            headers={"content-security-policy": SANDBOX},
        )

    async def compare(self, request: Request) -> Response:
        """A page with runs side by side, each beside the first: `?run=A&run=B`."""
        names = request.query_params.getlist("run")
        if len(names) < 2:
            raise Mistake(f"run must be two runs or more, got {len(names)}")
        page = await aside(self._shelf.compared, names)
        return HTMLResponse(page, headers={"content-security-policy": SANDBOX})

    async def events(self, request: Request) -> Response:
        """What happens in a run, from an offset of its file on, as server-sent events.

        The id of each is the offset after it, so that a browser that comes again goes on there.
        """
        run_id = request.path_params["run_id"]
        path = await aside(self._shelf.events, run_id)
        return self._streams.response(request, path, lambda: self._may_tell(run_id))

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
