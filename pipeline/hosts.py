"""Which of several hosts this is, by the environment variables that Keras and TensorFlow know.

Each host runs the same command with the same store. The first one makes everything; the others
help it to train, and write nowhere: see `interpreters.help`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from models.mistakes import Mistake

_ADDRESSES, _COUNT, _RANK = (
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)


@dataclass(frozen=True)
class Hosts:
    """The hosts that train together, and which one this is: 0 is the first."""

    count: int = 1
    rank: int = 0


def hosts_of(backend: str) -> Hosts:
    """What the environment says: TF_CONFIG on TensorFlow, KERAS_DISTRIBUTION_… on JAX."""
    if backend == "tensorflow":
        name, hosts = "TF_CONFIG", _of_tensorflow()
    else:
        name, hosts = _RANK, _of_keras()
    if not 0 <= hosts.rank < hosts.count:
        raise Mistake(f"{name} must be one of {hosts.count} hosts, from 0, got {hosts.rank}")
    return hosts


def _of_keras() -> Hosts:
    if not os.environ.get(_ADDRESSES):
        return Hosts()
    given = {name: os.environ.get(name, "") for name in (_COUNT, _RANK)}
    for name, value in given.items():
        if not value.isdecimal():
            raise Mistake(f"{name} must be a number where {_ADDRESSES} is given, got {value!r}")
    return Hosts(int(given[_COUNT]), int(given[_RANK]))


def _of_tensorflow() -> Hosts:
    written = os.environ.get("TF_CONFIG", "")
    if not written:
        return Hosts()
    try:
        config = json.loads(written)
        cluster, task = config["cluster"], config["task"]
        chiefs, workers = (len(cluster.get(kind, ())) for kind in ("chief", "worker"))
        rank = int(task["index"]) + (chiefs if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker"):
            raise ValueError(task["type"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Mistake(
            f"TF_CONFIG must be JSON with a cluster of workers and the task of this one, got "
            f"{written!r}"
        ) from error
    return Hosts(chiefs + workers, rank)
