"""Servers of this machine: where one listens, and the studio in a process of its own."""

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

from models.mistakes import Mistake

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
        # By name: asyncio sends without delay (TCP_NODELAY) only where it knows that it is TCP.
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
    process, url = apart(store, PORT, say)
    say(f"Watch it: {url}")
    try:
        yield
    finally:
        end(process)
    say(f"It can be looked at again: studio --store {store}")


def apart(
    store: Path, port: int, say: Callable[[str], None], *, framed: bool = False
) -> tuple[subprocess.Popen[str], str]:
    """The studio in a process of its own, which ends with this one; that, and its address.

    Args:
        framed: see `Guard`.
    """
    require()
    store.mkdir(parents=True, exist_ok=True)
    address = listen(port, say)
    handle = address.listening.fileno()
    root = str(Path(__file__).parents[1])
    known = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.studio", str(store), str(handle), *["framed"] * framed],
        pass_fds=[handle],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": known},
        text=True,
        # Ctrl-C is meant for the run.
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(f"{address.token}\n")
    process.stdin.flush()
    url = address.url
    address.listening.close()
    return process, url


def end(process: subprocess.Popen[str]) -> None:
    """End a studio that was started by `apart`."""
    assert process.stdin
    process.stdin.close()
    process.wait()


def require() -> None:
    """A `Mistake` where the studio's extra is not installed."""
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise Mistake(f"the studio must have {name} installed: pip install '.[studio]'")
