"""The studio's server: its pages, and what they ask for."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from models.mistakes import Mistake
from models.version import described
from pipeline.store import Store, StoreIsHeld
from pipeline.studio import bodies
from pipeline.studio.answers import mistaken
from pipeline.studio.assets import Assets
from pipeline.studio.data import Data
from pipeline.studio.explaining import Explaining
from pipeline.studio.guard import Guard
from pipeline.studio.of_data import OfData
from pipeline.studio.of_lab import OfLab
from pipeline.studio.of_models import OfModels
from pipeline.studio.of_runs import OfRuns
from pipeline.studio.registry import Registry
from pipeline.studio.shelf import Missing, Shelf
from pipeline.studio.streaming import Streams
from pipeline.studio.workshop import Workshop

# Addresses that a person sees; what they say is for the page to show.
_PAGES = (
    "/",
    "/runs/{run_id}",
    "/runs/{run_id}/data",
    "/runs/{run_id}/lab",
    "/models",
    "/models/{model}",
)


def create(
    store: Store, *, token: str, hosts: list[str], read_only: bool = False, framed: bool = False
) -> Starlette:
    """The application.

    Args:
        hosts: names with a port under which it is asked, such as `127.0.0.1:8787`.
        read_only: and `framed`: see `Guard`.
    """
    known = {"store": str(store.root), "version": described(), "read_only": read_only}

    async def about(request: Request) -> Response:
        del request
        return JSONResponse(known)

    shelf, data = Shelf(store), Data(store)
    registry = Registry(shelf)
    streams, assets = Streams(), Assets()
    return Starlette(
        routes=[
            Route("/api/about", about),
            *OfRuns(shelf, streams).routes(),
            *OfData(shelf, data).routes(),
            *OfModels(registry, Explaining(registry, data)).routes(),
            *OfLab(shelf, Workshop(store), streams).routes(),
            *(Route(address, assets.page) for address in _PAGES),
            *assets.routes(),
        ],
        middleware=[
            Middleware(Guard, token=token, hosts=hosts, read_only=read_only, framed=framed)
        ],
        exception_handlers={
            Missing: _missing,
            Mistake: _mistaken,
            StoreIsHeld: _mistaken,
            bodies.TooLarge: _too_large,
        },
    )


async def _missing(request: Request, error: Exception) -> Response:
    del request
    return mistaken(str(error), 404)


async def _too_large(request: Request, error: Exception) -> Response:
    del request
    return mistaken(str(error), 413)


async def _mistaken(request: Request, error: Exception) -> Response:
    """As text: it may be a page that was asked for."""
    del request
    return PlainTextResponse(f"{error}\n", status_code=400)
