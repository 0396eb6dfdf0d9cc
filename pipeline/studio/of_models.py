"""What pages ask of models that were pushed."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pipeline.studio import bodies
from pipeline.studio.answers import SANDBOX, as_json, aside, mistaken
from pipeline.studio.explaining import Explaining
from pipeline.studio.registry import Registry

_ROLLBACK = 'the body must be {"to": VERSION, "reason": WHY}'


class OfModels:
    """Their versions, what these say of an example, and the way back to one."""

    def __init__(self, registry: Registry, explaining: Explaining) -> None:
        self._registry, self._explaining = registry, explaining

    def routes(self) -> list[Route]:
        """Where it is asked."""
        version = "/api/models/{model}/{version:int}"
        return [
            Route("/api/models", self.models),
            Route("/api/models/{model}/rollback", self.roll_back, methods=["POST"]),
            Route(f"{version}/check", self.check, methods=["POST"]),
            Route(f"{version}/ask", self.ask, methods=["POST"]),
            Route(f"{version}/why", self.why, methods=["POST"]),
            Route(f"{version}/near", self.near, methods=["POST"]),
            Route("/why/{page}", self.page),
        ]

    async def models(self, request: Request) -> Response:
        """All models with their versions."""
        del request
        return await as_json(self._registry.models)

    async def ask(self, request: Request) -> Response:
        """What a version says of the example in the body: its bytes, or a text."""
        raw = await bodies.read(request)
        params = request.path_params
        return await as_json(self._registry.ask, params["model"], params["version"], raw)

    async def why(self, request: Request) -> Response:
        """What of the example in the body counted for the answer: the address of a page."""
        raw = await bodies.read(request)
        params = request.path_params
        return await as_json(self._explaining.why, params["model"], params["version"], raw)

    async def page(self, request: Request) -> Response:
        """What `why` has found, by itself."""
        page = self._explaining.page(request.path_params["page"])
        return HTMLResponse(page, headers={"content-security-policy": SANDBOX})

    async def near(self, request: Request) -> Response:
        """The training examples that are most like the example in the body."""
        raw = await bodies.read(request)
        params = request.path_params
        return await as_json(self._explaining.near, params["model"], params["version"], raw)

    async def check(self, request: Request) -> Response:
        """Whether a version still says what it said when it was exported."""
        params = request.path_params
        count = await aside(self._registry.check, params["model"], params["version"])
        return JSONResponse({"same": count})

    async def roll_back(self, request: Request) -> Response:
        """Publish an earlier version again: `{"to": VERSION, "reason": WHY}`."""
        try:
            asked = json.loads(await bodies.read(request))
            to, reason = int(asked["to"]), str(asked["reason"])
        except (ValueError, KeyError, TypeError):
            return mistaken(_ROLLBACK)
        number = await aside(self._registry.roll_back, request.path_params["model"], to, reason)
        return JSONResponse({"version": number})
