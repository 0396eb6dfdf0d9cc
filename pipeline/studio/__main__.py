"""The studio of a run, in a process of its own that ends with the run: see `local.apart`."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

from pipeline.local import Address
from pipeline.store import Store
from pipeline.studio.server import serve


def _end_with_run() -> None:
    """The run says nothing more: there is something to read when it has ended, however that was."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    # What a page shows can wait; the run does not wait for it.
    os.nice(10)
    store, handle, *more = sys.argv[1:]
    address = Address(socket.socket(fileno=int(handle)), sys.stdin.readline().strip())
    threading.Thread(target=_end_with_run, daemon=True).start()
    serve(Store(Path(store)), address, read_only=False, framed="framed" in more)
