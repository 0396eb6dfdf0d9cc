"""What pages ask of the examples of a run."""

from __future__ import annotations

import json
from dataclasses import fields

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.records import RunRecord
from pipeline.studio import bodies
from pipeline.studio.answers import as_json, aside, mistaken
from pipeline.studio.data import Data, Query
from pipeline.studio.shelf import Shelf


class OfData:
    """Examples, those that were set aside, and those whose labels are in doubt."""

    def __init__(self, shelf: Shelf, data: Data) -> None:
        self._shelf, self._data = shelf, data

    def routes(self) -> list[Route]:
        """Where it is asked."""
        run = "/api/runs/{run_id}"
        return [
            Route(f"{run}/data", self.data),
            Route(f"{run}/data/{{example}}/raw", self.raw),
            Route(f"{run}/quarantined", self.quarantined),
            Route(f"{run}/suspects", self.suspects),
            Route(f"{run}/patch", self.patch, methods=["POST"]),
        ]

    async def data(self, request: Request) -> Response:
        """Examples of a run: `?split=&label=&part=&words=&from=0&count=60`."""
        given = request.query_params
        begin, count = (given.get(name, usual) for name, usual in (("from", "0"), ("count", "60")))
        if not (begin.isdecimal() and count.isdecimal()):
            return mistaken("from and count must be numbers")
        asked = {each.name: given.get(each.name, "") for each in fields(Query)}
        record = await self._record(request)
        return await as_json(self._data.find, record, Query(**asked), int(begin), int(count))

    async def raw(self, request: Request) -> Response:
        """An example, as it was given; it is never a page."""
        record = await self._record(request)
        raw, kind = await aside(self._data.raw, record, request.path_params["example"])
        headers = {"content-security-policy": "sandbox; default-src 'none'"}
        headers["cache-control"] = "private, max-age=3600"  # Its address is that of its content.
        return Response(raw, media_type=kind, headers=headers)

    async def quarantined(self, request: Request) -> Response:
        """What was set aside, and why."""
        return await as_json(self._data.quarantined, await self._record(request))

    async def suspects(self, request: Request) -> Response:
        """Labels that are in doubt."""
        return await as_json(self._data.suspects, await self._record(request))

    async def patch(self, request: Request) -> Response:
        """Write what is to be done with examples: `[{"id", "action", "suggested"}, …]`."""
        try:
            actions = [dict(each) for each in json.loads(await bodies.read(request))]
        except (ValueError, TypeError):
            return mistaken("the body must be a list of objects")
        path = await aside(self._data.patch, await self._record(request), actions)
        return JSONResponse({"path": path})

    async def _record(self, request: Request) -> RunRecord:
        return await aside(self._shelf.record, request.path_params["run_id"])
