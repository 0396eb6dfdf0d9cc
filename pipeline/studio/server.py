"""Starts the studio on a port of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.mistakes import Mistake
from pipeline.stopping import Stopped, has_stopped
from pipeline.store import Store

LOOPBACK = "127.0.0.1"
PORT = 8787
_PORTS = 50


@dataclass(frozen=True)
class Address:
    """Where the studio is: a socket that listens, and what a browser is to open."""

    listening: socket.socket
    token: str

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    @property
    def hosts(self) -> list[str]:
        return [f"{name}:{self.port}" for name in (LOOPBACK, "localhost")]

    @property
    def url(self) -> str:
        """With the token, which nobody else on this machine knows."""
        return f"http://{LOOPBACK}:{self.port}/?token={self.token}"


def listen(port: int, say: Callable[[str], None]) -> Address:
    """Take `port` of the loopback interface, or the next one that is free.

    Raises:
        Mistake: none of the next ones is.
    """
    for at in range(port, min(port + _PORTS, 1 << 16)):
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((LOOPBACK, at))
            taken.listen(128)
        except OSError:
            taken.close()
            continue
        if at != port and port:
            say(f"Port {port} is in use: this is {taken.getsockname()[1]}.")
        return Address(taken, secrets.token_urlsafe(24))
    raise Mistake(f"--port must be one that is free, or have a free one after it, got {port}")


@contextlib.contextmanager
def beside(store: Path, say: Callable[[str], None]) -> Iterator[None]:
    """The studio beside a run, in a process of its own: what it answers costs training nothing.

    Args:
        store: made where it is not there yet.
        say: told where the studio is.
    """
    require()
    store.mkdir(parents=True, exist_ok=True)
    address = listen(PORT, say)
    handle = address.listening.fileno()
    root = str(Path(__file__).parents[2])
    known = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.studio", str(store), str(handle)],
        pass_fds=[handle],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": known},
        text=True,
        # Ctrl-C is meant for the run.
        start_new_session=True,
    ) as process:
        assert process.stdin
        process.stdin.write(f"{address.token}\n")
        process.stdin.flush()
        say(f"Watch it: {address.url}")
        address.listening.close()
        try:
            yield
        finally:
            process.stdin.close()
    say(f"It can be looked at again: studio --store {store}")


def require() -> None:
    """A `Mistake` where the studio's extra is not installed."""
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise Mistake(f"the studio must have {name} installed: pip install '.[studio]'")


def serve(store: Store, address: Address, *, read_only: bool) -> None:
    """Answer until the process is told to stop."""
    from pipeline.studio.app import create

    app = create(store, token=address.token, hosts=address.hosts, read_only=read_only)
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
