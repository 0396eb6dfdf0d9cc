"""Starts the studio on a port of this machine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from models.mistakes import Mistake
from pipeline.local import Address, listen, require
from pipeline.stopping import Stopped, has_stopped
from pipeline.store import Store


def serve(store: Store, address: Address, *, read_only: bool, framed: bool = False) -> None:
    """Answer until the process is told to stop."""
    from pipeline.studio.app import create

    app = create(
        store, token=address.token, hosts=address.hosts, read_only=read_only, framed=framed
    )
    answer(app, address)


def answer(app: Any, address: Address) -> None:
    """Have an ASGI application answer there until the process is told to stop."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(Stopped):  # Which is how it ends.
        uvicorn.Server(config).run(sockets=[address.listening])
    has_stopped()


def to_stderr(text: str) -> None:
    """A line for the person who started it."""
    sys.stderr.write(text + "\n")


def studio(store_path: Path, port: int, *, read_only: bool) -> int:
    """Serve the studio of a store, and say where."""
    require()
    if not store_path.is_dir():
        raise Mistake(
            f"--store must be the folder of a store, got {str(store_path)!r}, which is not there: "
            f"run makes one"
        )

    address = listen(port, to_stderr)
    to_stderr(f"The studio of {store_path}: {address.url}")
    to_stderr("Ctrl-C ends it; runs go on.")
    serve(Store(store_path), address, read_only=read_only)
    return 0
