"""A stage at work, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import io
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, cast

from etils import epy

from components.artifacts import Artifact
from components.job import Job, nobody, silence, unwatched
from models.quiet import hide_gpus, import_tensorflow

with epy.lazy_imports():
    from models import distribution

TENSORFLOW = "tensorflow"


@dataclass(frozen=True)
class Work:
    """A stage and what it is called with; it can be sent to another process.

    Attributes:
        backend: what Keras is to compute with.
        distribution: see `RuntimeConfig`; stages that only TensorFlow computes know none.
        together: whether the devices of several hosts are meant.
    """

    stage: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    job: Job
    backend: str
    distribution: str
    together: bool = False

    def do(self) -> Artifact:
        """Call the stage, here."""
        # Standard output is for results; libraries that print to it do not know.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as stack:
            if not self.plain:
                import_tensorflow()
                scope = distribution.scope(self.distribution, several_hosts=self.together)
                stack.enter_context(scope)
            artifact = cast(Artifact, self.stage(self.job, *self.arguments, **self.options))
        _give_back()
        return artifact

    @property
    def plain(self) -> bool:
        """Whether it needs no TensorFlow."""
        plain: bool = self.stage.plain  # type: ignore[attr-defined]
        return plain


def _give_back() -> None:
    """Memory that is free back to the kernel: of many small objects, glibc keeps it all.

    What a stage was at work with may be in circles, which Python looks for too seldom.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # Another C library.
        ctypes.CDLL(None).malloc_trim(0)


def do_apart(work: Work) -> Artifact:
    """Call the stage in a process of its own, whose memory is given back when it ends.

    What it raises is raised here, too. It ends when this process does, however that ends.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    silent = replace(work, job=replace(work.job, progress=unwatched, say=silence, tell=nobody))
    process = context.Process(target=_child, args=(there, silent), daemon=True)
    with _environment(KERAS_BACKEND=work.backend):
        process.start()
    there.close()
    try:
        while True:
            kind, value = here.recv()
            if kind == "done":
                return cast(Artifact, value)
            if kind == "raised":
                raise value
            if kind == "say":
                work.job.say(value)
            elif kind == "event":
                work.job.tell(value.pop("event"), **value)
            else:
                work.job.progress(*value)
    except EOFError as error:
        process.join()
        raise RuntimeError(
            f"the process of {work.stage.__name__} must end by itself, got its end with status "
            f"{process.exitcode}; a process that takes too much memory is killed"
        ) from error
    finally:
        process.kill()
        process.join()
        here.close()


def _child(there: Connection, work: Work) -> None:
    os.dup2(2, 1)  # Libraries in C++ print there, and know nothing of `sys.stdout`.
    if work.backend != TENSORFLOW:
        hide_gpus()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent is interrupted, too, and ends this.
    threading.Thread(target=end_with_parent, args=(there,), daemon=True).start()
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            there.send((kind, value))

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        send("progress", (what, done, total, note))

    def tell(event: str, level: str = "info", **facts: Any) -> None:
        send("event", {"event": event, "level": level, **facts})

    try:
        job = replace(work.job, progress=progress, say=functools.partial(send, "say"), tell=tell)
        result = replace(work, job=job).do()
    except Exception as error:
        error.add_note(f"in its own process:\n{traceback.format_exc()}")
        try:
            send("raised", error)
        except Exception:  # One that cannot be pickled.
            send("raised", RuntimeError(traceback.format_exc()))
    else:
        send("done", result)


def end_with_parent(there: Connection) -> None:
    """The parent never says anything: there is something to read when it has ended."""
    with contextlib.suppress(EOFError, OSError):
        there.recv()
    os._exit(1)


@contextlib.contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """The environment of a process that is started in this context."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
