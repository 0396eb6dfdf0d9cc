"""At work in a store: it is held, and what a disk that is full does is told in a line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from components import disk
from components.served.versions import LOCK
from models.mistakes import Mistake
from models.quiet import forget_kernels
from pipeline.stopping import deadline
from pipeline.store import Store, held


@contextlib.contextmanager
def at_work(store: Store, serving: Path, most: str) -> Iterator[None]:
    """Hold the store and the serving directory, for a time such as 3h at most."""
    with (
        _told_of_the_disk(store, serving),
        store.lock(),
        _held(serving, store),
        store.temporary(),
        deadline(most),
    ):
        try:
            yield
        finally:
            forget_kernels()


def _held(serving: Path, store: Store) -> contextlib.AbstractContextManager[None]:
    """Where runs of other stores push to as well, one is at work at a time."""
    if serving.is_relative_to(store.root):
        return contextlib.nullcontext()
    return held(serving / LOCK, "serving directory", "--serving-dir", keep="if used")


@contextlib.contextmanager
def _told_of_the_disk(store: Store, serving: Path) -> Iterator[None]:
    """A `Mistake` where a disk is full, or fails, instead of what a library made of that."""
    try:
        yield
    except Mistake:
        raise
    except Exception as error:
        if mistake := disk.mistake_of(error, *dict.fromkeys((store.root, serving))):
            raise mistake from error
        raise
