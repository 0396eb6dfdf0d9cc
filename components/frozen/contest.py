"""Which engine computes a long feature pass: told by measuring, on the pass's own first batches.

Only of inputs of one shape: of texts of all lengths, one batch tells little, and OpenVINO was no
faster. An engine that was slower, or did not agree, is not tried again: that is kept by machine,
network and versions, in Keras's folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
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
# What another engine's outputs may be off by, as a share of how much each feature varies. Rounding
# of float32 is a tenth of it; 16 bits are off by forty times it and more.
TOLERANCE = 1e-3
# A feature that varies by less than this share of how much all do is taken to vary by it.
_LEAST = 1e-2
# It must be faster by this share, or the noise of a measurement would choose.
_FASTER = 0.9

# Of what is kept.
_VERSION = 1

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
        self._network, self._backend, self._left = network, run, batches
        self._other: Run | None = None
        fixed = all(None not in tensor.shape[1:] for tensor in network.inputs)
        self._held = not fixed or not engines.others()
        self._done = 0

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        if self._other:
            try:
                return self._other(inputs)
            except Exception:  # Such as no memory left for it.
                self._other, self.engine = None, ""
        started = time.monotonic()
        outputs = self._backend(inputs)
        self._done += 1
        if self._done == _TIMED and not self._held:
            seconds = time.monotonic() - started
            if (self._left - self._done) * seconds > WORTH:
                self._hold(inputs, outputs)
        return outputs

    def _hold(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        """Go on with an engine that is faster and says what the backend did."""
        for name, build in engines.others().items():
            with suppress(Exception):  # What it cannot do is no reason for a pass to stop.
                key = f"{name} {self._key(inputs)}"
                if _read().get(key, {}).get("better", True):
                    run = build(self._network)
                    found = _compared(run, self._backend, inputs, outputs)
                    _write({**_read(), key: found})
                    if found["better"]:
                        self._other, self.engine = run, name
                        return

    def _key(self, inputs: list[np.ndarray]) -> str:
        """This machine, what computes, and this network with its weights and a batch for it."""
        weights = hashlib.sha256()
        for weight in self._network.get_weights():
            weights.update(np.ascontiguousarray(weight).data)
        shapes = [tensor.shape for tensor in (*inputs, *self._network.outputs)]
        told = [_VERSION, _machine(), engines.versions(), weights.hexdigest(), shapes]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:24]


def _compared(
    run: Run, backend: Run, inputs: list[np.ndarray], outputs: list[np.ndarray]
) -> dict[str, Any]:
    """Whether `run` is better than what gave `outputs`, and by what: in turns, both warm."""
    apart = _apart(run(inputs), outputs)
    turns = [(_seconds(run, inputs), _seconds(backend, inputs)) for _ in range(2)]
    took, before = min(own for own, _ in turns), min(own for _, own in turns)
    better = apart <= TOLERANCE and took < _FASTER * before
    return {"better": better, "times": before / took, "apart": apart}


def _seconds(run: Run, inputs: list[np.ndarray]) -> float:
    started = time.monotonic()
    run(inputs)
    return time.monotonic() - started


def _apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference in any feature, as a share of the feature's standard deviation."""
    largest = []
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape:
            return float("inf")
        own = other.reshape(-1, other.shape[-1]).std(axis=0)
        scale = np.maximum(own, _LEAST * other.std() + 1e-12)
        largest.append((np.abs(one - other) / scale).max())
    return float(np.max(largest))  # NaN where any is.


def _machine() -> str:
    """What a processor can do, and how many this process may use."""
    kind = platform.processor()
    with suppress(OSError, StopIteration), Path("/proc/cpuinfo").open() as lines:
        kind = next(line for line in lines if line.startswith("flags"))
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return f"{processors} {kind}"


def _file() -> Path:
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "shoulders_engines.json"


def _read() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = read_json(_file())
        return found if isinstance(found, dict) else {}
    return {}


def _write(known: dict[str, Any]) -> None:
    with suppress(OSError):  # A folder that nobody may write to: it is measured again.
        write_json(_file(), known)
