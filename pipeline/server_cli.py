"""The commands that answer until they are ended, as the command line has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from pipeline.cli import STORE


def studio(
    *,
    store: Path = STORE,
    port: int = 8787,
    read_only: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Open a page over a store, to watch runs while they go on and to look at those before.

    For this machine alone: the address has a token, and nobody else is answered.

    Args:
        store: Where artifacts are kept.
        port: Of the page; where it is in use, the next one that is free.
        read_only: Nothing can be changed from the page.
    """
    from pipeline.studio import server

    return server.studio(store, port, read_only=read_only)


def serve(
    model: Path,
    /,
    *,
    store: Path = STORE,
    port: int = 8501,
    name: str = "",
    versions: str = "1",
    label: Annotated[tuple[str, ...], cyclopts.Parameter(negative="")] = (),
    most_instances: int = 1024,
    most_bytes: str = "64MiB",
    threads: int = 2,
) -> int:
    """Answer as TensorFlow Serving's REST API does, for trying and for small use.

    On this machine alone, and to whoever asks. A new version answers as soon as it is whole and
    loaded, and the one before until then.

    Args:
        model: The name of what was pushed, such as photos, or its serving directory, or the
            directory of one version.
        store: Where a name is looked for.
        port: Of the API; where it is in use, the next one that is free.
        name: Of the model in addresses; that of its serving directory where not given.
        versions: How many of the highest answer; or all; or which, such as 3,4.
        label: NAME=VERSION: a name for a version, in addresses; may be said again.
        most_instances: Of a request.
        most_bytes: Of the body of a request.
        threads: Requests that are computed at a time; others wait.
    """
    from pipeline.studio.hosted import Hosted, hosted

    options = Hosted.of(versions, label, most_bytes, most_instances=most_instances, threads=threads)
    return hosted(model, store, name, port, options)


SERVERS = (studio, serve)
