"""What pages ask of the lab of a run."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models.mistakes import Mistake
from pipeline.records import RunRecord
from pipeline.studio import bodies
from pipeline.studio.answers import as_json, aside
from pipeline.studio.shelf import Shelf
from pipeline.studio.streaming import Streams
from pipeline.studio.workshop import Workshop


class OfLab:
    """Experiments on what a run has stored."""

    def __init__(self, shelf: Shelf, workshop: Workshop, streams: Streams) -> None:
        self._shelf, self._workshop, self._streams = shelf, workshop, streams

    def routes(self) -> list[Route]:
        """Where it is asked."""
        lab = "/api/runs/{run_id}/lab"
        return [
            Route(lab, self.about),
            Route(f"{lab}/network", self.network),
            Route(f"{lab}/batch", self.batch),
            Route(f"{lab}/experiments", self.experiments),
            Route(f"{lab}/answer", self.answer, methods=["POST"]),
            Route(f"{lab}/compute", self.compute, methods=["POST"]),
            Route(f"{lab}/fork", self.fork, methods=["POST"]),
            Route(f"{lab}/{{experiment}}/events", self.events),
            Route(f"{lab}/{{experiment}}/end", self.end, methods=["POST"]),
        ]

    async def about(self, request: Request) -> Response:
        """The config of the run, and what is at work."""
        return await as_json(self._workshop.about, await self._record(request))

    async def network(self, request: Request) -> Response:
        """The blocks of the giant."""
        return await as_json(self._workshop.network, await self._record(request))

    async def batch(self, request: Request) -> Response:
        """The first batch of training, as the giant reads it."""
        return await as_json(self._workshop.batch, await self._record(request))

    async def experiments(self, request: Request) -> Response:
        """Those that were kept: `?against=EXPERIMENT`."""
        against = request.query_params.get("against", "")
        return await as_json(self._workshop.experiments, await self._record(request), against)

    async def answer(self, request: Request) -> Response:
        """`{"settings": {…}, "against": EXPERIMENT, "keep": false}`: what that comes to."""
        given = await _body(request)
        record = await self._record(request)
        against, keep = str(given.get("against", "")), bool(given.get("keep"))
        return await as_json(
            lambda: self._workshop.answer(record, given["settings"], against, keep=keep)
        )

    async def compute(self, request: Request) -> Response:
        """`{"settings": {…}}`: begin an experiment that takes long."""
        given = await _body(request)
        name = await aside(self._workshop.compute, await self._record(request), given["settings"])
        return JSONResponse({"id": name})

    async def fork(self, request: Request) -> Response:
        """`{"settings": {…}, "start": false}`: a recipe of the run with a change."""
        given = await _body(request)
        record, start = await self._record(request), bool(given.get("start"))
        found = await aside(lambda: self._workshop.fork(record, given["settings"], start=start))
        return JSONResponse(found)

    async def events(self, request: Request) -> Response:
        """What happens in an experiment, as of a run."""
        record, name = await self._record(request), request.path_params["experiment"]
        path = self._workshop.events(record, name)

        def may_tell() -> bool:
            return self._workshop.is_at_work(record.run_id, name)

        return self._streams.response(request, path, may_tell)

    async def end(self, request: Request) -> Response:
        """`{"stage": NAME}`: end the training of a stage; or all, where none is named."""
        given = await _body(request)
        record, name = await self._record(request), request.path_params["experiment"]
        await aside(self._workshop.end, record, name, str(given.get("stage", "")))
        return JSONResponse({"asked": given.get("stage", "")})

    async def _record(self, request: Request) -> RunRecord:
        return await aside(self._shelf.record, request.path_params["run_id"])


async def _body(request: Request) -> dict[str, Any]:
    """What is asked, with its settings."""
    try:
        given = json.loads(await bodies.read(request))
        return {**given, "settings": dict(given.get("settings", {}))}
    except (ValueError, TypeError, AttributeError):
        raise Mistake('the body must be {"settings": {KEY: VALUE}}') from None
