"""What the processes of the workshop do: one answers at once, others compute what takes long."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models.mistakes import Mistake
from pipeline.console import Log, Several
from pipeline.interpreters.aside import NotQuick
from pipeline.lab.experiment import Experiment
from pipeline.lab.lab import Lab
from pipeline.processes import end_with_parent
from pipeline.records import RunRecord
from pipeline.store import Store, StoreIsHeld

# Labs whose network and features stay in memory.
_OPEN = 2
# What a person is told as it is.
_TOLD = (Mistake, StoreIsHeld)


def ended(status: int) -> str:
    """Why a process of the lab says nothing more."""
    return (
        f"the lab's process must go on, got its end with status {status}; one that takes too much "
        f"memory is killed"
    )


def start(target: Callable[..., None], *given: Any) -> tuple[Any, Connection]:
    """Have a process do something; it, and what it is spoken to by."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *given))
    process.start()
    there.close()
    return process, here


def answer(there: Connection, root: Path) -> None:
    """Answer what is asked until nobody is there to ask."""
    _begin()
    labs: OrderedDict[str, Lab] = OrderedDict()
    while True:
        try:
            run_id, what, given = there.recv()
        except EOFError:
            break
        try:
            if run_id not in labs:
                labs[run_id] = _open(root, run_id)
                while len(labs) > _OPEN:
                    labs.popitem(last=False)[1].close()
            told = ("done", _ANSWERS[what](labs[run_id], *given))
        except _TOLD as error:
            told = ("raised", error)
        except Exception as error:
            labs.clear()
            told = ("raised", Mistake(f"{type(error).__name__}: {error}"))
        there.send(told)
    for lab in labs.values():
        lab.close()


def compute(there: Connection, root: Path, run_id: str, settings: dict[str, Any]) -> None:
    """Compute one experiment; what is wrong with it is said."""
    _begin()
    threading.Thread(target=end_with_parent, args=(there,), daemon=True).start()
    silent: Log = Several()
    try:
        _open(root, run_id).compute(settings, silent)
    except Exception as error:
        there.send(f"{error}" or type(error).__name__)
        sys.exit(1)


def _begin() -> None:
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent is interrupted, too, and ends this.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _open(root: Path, run_id: str) -> Lab:
    store = Store(root)
    return Lab(store, RunRecord.read(store.runs, run_id))


def _told(lab: Lab, settings: dict[str, Any], against: str, keep: bool) -> dict[str, Any]:
    first = lab.first_block(settings)
    try:
        found = lab.answer(settings)
    except NotQuick as stage:
        return {"needs": str(stage), "first": first}
    if keep:
        lab.keep(found)
    return {**_beside(found, lab.known(against)), "first": first}


def _kept(lab: Lab, against: str) -> list[dict[str, Any]]:
    other = lab.known(against)
    return [_beside(each, other) for each in lab.kept()]


def _beside(found: Experiment, other: Experiment | None) -> dict[str, Any]:
    return {**found.as_json(), "beside": found.beside(other) if other else []}


_ANSWERS: dict[str, Callable[..., Any]] = {
    "network": Lab.network,
    "batch": Lab.batch,
    "answer": _told,
    "kept": _kept,
}
