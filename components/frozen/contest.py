"""Which engine computes a long feature pass: told by measuring, on the pass's own first batches.

What was found is kept by machine, network and versions, in Keras's folder: an engine that was
slower, or did not agree, is not tried again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
from etils import epy

from components.files import read_json, write_json

with epy.lazy_imports():
    from models import engines

# So many seconds of work make it worth to look: another engine takes one or two to be built.
WORTH = 20.0
# Batches after which it is known how fast the backend is. The first one compiles.
_TIMED = 3
# What another engine's outputs may be off by, as a share of how much they vary.
TOLERANCE = 1e-3
# It must be faster by this share, or the noise of a measurement would choose.
_FASTER = 0.9

Run = Callable[[list[np.ndarray]], list[np.ndarray]]


class Contest:
    """`run`, until another engine has proven to say the same in less time.

    Args:
        batches: how many there are to come.

    Attributes:
        engine: what computes now; empty for the backend.
    """

    engine = ""

    def __init__(self, network: keras.Model, run: Run, batches: int) -> None:
        self._network, self._run, self._left = network, run, batches
        self._done = 0

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        started = time.monotonic()
        outputs = self._run(inputs)
        self._done += 1
        if self._done == _TIMED:
            seconds = time.monotonic() - started
            if (self._left - self._done) * seconds > WORTH:
                self._run = self._fastest(inputs, outputs, seconds)
        return outputs

    def _fastest(self, inputs: list[np.ndarray], outputs: list[np.ndarray], seconds: float) -> Run:
        """The engine to go on with, where the backend gave `outputs` of a batch in `seconds`."""
        best = self._run
        for name, build in engines.others().items():
            key = f"{name} {self._key()}"
            known = _read().get(key)
            if known and not known["better"]:
                continue
            try:
                run = build(self._network)
                found = run(inputs)
            except Exception as error:  # Such as an operation that it does not know.
                _write({**_read(), key: {"better": False, "why": str(error)[:200]}})
                continue
            took = min(_seconds(run, inputs) for _ in range(2))
            apart = _apart(found, outputs)
            better = apart <= TOLERANCE and took < _FASTER * seconds
            _write({**_read(), key: {"better": better, "times": seconds / took, "apart": apart}})
            if better:
                best, seconds, self.engine = run, took, name
        return best

    def _key(self) -> str:
        """This machine, what computes, and this network with its weights."""
        weights = hashlib.sha256()
        for weight in self._network.get_weights():
            weights.update(np.ascontiguousarray(weight).data)
        outputs = [tuple(tensor.shape) for tensor in self._network.outputs]
        told = [_machine(), os.cpu_count(), engines.versions(), weights.hexdigest(), outputs]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:24]


def _seconds(run: Run, inputs: list[np.ndarray]) -> float:
    started = time.monotonic()
    run(inputs)
    return time.monotonic() - started


def _apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference of any output, as a share of its standard deviation."""
    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(one - other).max() / (other.std() + 1e-12)) for one, other in pairs)


def _machine() -> str:
    with suppress(OSError, StopIteration), Path("/proc/cpuinfo").open() as lines:
        return next(line for line in lines if line.startswith("flags"))
    return platform.processor()


def _file() -> Path:
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "shoulders_engines.json"


def _read() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(read_json(_file()))
    return {}


def _write(known: dict[str, Any]) -> None:
    with suppress(OSError):  # A folder that nobody may write to: it is measured again.
        write_json(_file(), known)
