"""Stores with runs that were never made, and a studio over them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from pipeline.events import EVENTS, line
from pipeline.local import Address, listen
from pipeline.records import RunRecord
from pipeline.store import Store
from pipeline.studio.app import create

TOKEN = "a-token"
HOST = "127.0.0.1:8787"
STAGES = ("ingest", "validate", "train_head", "push")


def record(store: Path, run_id: str, **changes: Any) -> Path:
    """Put a run on record; the folder of its events."""
    known = {
        "run_id": run_id,
        "recipe": "photos",
        "request": "",
        "serving": str(store / "serving" / "photos"),
        "baseline": None,
        "started": "2026-11-28T10:00:00Z",
        "outcome": "pushed",
        "seconds": 12.5,
        "figures": {"accuracy": 0.9},
        "pushed": str(store / "serving" / "photos" / "3"),
    }
    made = RunRecord.model_validate(known | changes)
    made.save(store / "runs")
    folder = made.folder(store / "runs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def epoch(number: int, loss: float) -> str:
    """The event of an epoch."""
    figures = {"loss": loss, "val_loss": loss + 0.1, "val_accuracy": 0.5, "learning_rate": 0.01}
    facts = {"stage": "train_head", "phase": "train_head", "epoch": number, "figures": figures}
    return line("info", "epoch", facts | {"updates": {"head": 0.002}})


def beginning(*, patience: int = 5, epochs: int = 20) -> list[str]:
    """The events of a run up to its first epoch."""
    stages = [{"name": name, "status": "would run", "expected": 3.0} for name in STAGES]
    after = {name: STAGES[at - 1 : at] if at else () for at, name in enumerate(STAGES)}
    began = {"recipe": "photos", "stages": stages, "run": "", "settings": {}, "after": after}
    phase = {"stage": "train_head", "phase": "train_head", "epochs": epochs, "patience": patience}
    phase |= {"monitor": "val_loss", "min_delta": 0.0, "start_from_epoch": 0}
    phase |= {"more_is_better": False, "before": {"val_loss": 0.7}}
    return [
        line("info", "run began", began),
        line("info", "stage began", {"stage": "train_head", "expected": 3.0}),
        line("info", "phase began", phase),
    ]


def tell(folder: Path, lines: list[str]) -> None:
    """Append events, as a run does."""
    with (folder / EVENTS).open("a") as file:
        file.write("".join(lines))


@contextlib.contextmanager
def studio(store: Path, *, read_only: bool = False) -> Iterator[Address]:
    """A studio that answers in a thread."""
    taken = listen(0, print)
    address = Address(taken.listening, TOKEN)
    app = create(Store(store), token=TOKEN, hosts=address.hosts, read_only=read_only)
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [address.listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield address
    finally:
        server.should_exit = True
        thread.join()
        address.listening.close()


def client(store: Path, *, token: bool = True, **options: Any) -> TestClient:
    """Somebody who asks, under the name that the studio is at home under."""
    app = create(Store(store), token=TOKEN, hosts=[HOST, "localhost:8787"], **options)
    headers = {"host": HOST} | ({"authorization": f"Bearer {TOKEN}"} if token else {})
    return TestClient(app, base_url=f"http://{HOST}", headers=headers, follow_redirects=False)


def copied(pushed: Path, store: Path) -> Path:
    """A copy of the store that a model was pushed in, as if its run had been there."""
    before = pushed.parents[2]
    shutil.copytree(before, store, dirs_exist_ok=True)
    for path in (store / "runs").glob("*.json"):
        path.write_text(path.read_text().replace(str(before), str(store)))
    return store


def running(store: Path, run_id: str = "RUN") -> Path:
    """A run of this process, which goes on."""
    changes: dict[str, Any] = {"outcome": "running", "figures": {}, "pushed": None, "seconds": 0.0}
    return record(store, run_id, process=os.getpid(), host=os.uname().nodename, **changes)


@dataclass(frozen=True)
class At:
    """Where a studio of another process is."""

    port: int

    @property
    def hosts(self) -> list[str]:
        return [f"127.0.0.1:{self.port}"]

    def get(self, path: str) -> bytes:
        """What is answered there."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        asked = urllib.request.Request(f"http://{self.hosts[0]}{path}", headers=headers)
        with urllib.request.urlopen(asked) as answer:
            content: bytes = answer.read()
        return content


class Stream:
    """Server-sent events as a browser reads them, and where it is when it comes again."""

    def __init__(self, address: Address | At, run_id: str = "RUN") -> None:
        self.address, self._run_id = address, run_id
        self.last, self.events = "", list[dict[str, Any]]()
        self.over = False

    def read(self, until: int = 1 << 30, seconds: float = 20.0) -> None:
        """Connect, and read until there are so many events, or it is over or lost."""
        path = f"/api/runs/{self._run_id}/events"
        host = self.address.hosts[0]
        last = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n{last}\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.address.port), seconds) as connected:
            connected.sendall(request.encode())
            with connected.makefile("r", encoding="utf-8", newline="\n") as answer:
                found: dict[str, str] = {}
                for text in answer:
                    name, _, value = text.rstrip("\n").partition(": ")
                    if name:
                        found[name] = value
                        continue
                    # An event is whole where a line is empty.
                    if found.get("event") == "over":
                        self.over = True
                        return
                    if "id" in found:
                        self.events.append(json.loads(found["data"]))
                        self.last = found["id"]
                        if len(self.events) >= until:
                            return
                    found = {}

    def read_or_lose(self) -> None:
        """As `read`, where the server may be killed."""
        with contextlib.suppress(OSError):
            self.read(seconds=2.0)


if __name__ == "__main__":
    with studio(Path(sys.argv[1])) as here:
        print(here.port, flush=True)
        sys.stdin.read()
