"""Golden vectors: a few examples that travel with a model, and what it said of them when exported.

```
assets.extra/golden.npz
    raw.N           the bytes of an example
    input.NAME      (examples, …), what they were decoded to, for each of the network's inputs
    output.NAME     (examples, …), what the network in memory said, under the names served
```

"Predictions changed after export" is found where it begins: every load asks the model about them,
on whatever machine and with whatever version of TensorFlow it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.tasks.protocol import Target
from models.mistakes import Mistake

with epy.lazy_imports():
    import tensorflow as tf

    from models import hardware


class Changed(Mistake):
    """A model says something else than when it was exported."""


FILE = "assets.extra/golden.npz"
# What another machine may differ by: in probability, or in standard deviations of a number.
TOLERANCE = 1e-4
_SERVED = "serving_default"
# The output that says whether an example is like those that the model was trained on.
KNOWN = "known"


def write(
    path: Path,
    raws: Sequence[bytes],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> None:
    """Let the examples travel with the model at `path`."""
    arrays = {f"raw.{n}": np.frombuffer(raw, np.uint8) for n, raw in enumerate(raws)}
    arrays |= {f"input.{name}": value for name, value in inputs.items()}
    arrays |= {f"output.{name}": value for name, value in outputs.items()}
    np.savez_compressed(path / FILE, **arrays)  # type: ignore[arg-type]


def check(path: Path, signatures: Any, targets: Sequence[Target]) -> int:
    """How many examples the model at `path` says the same of as when it was exported.

    Both signatures are asked: raw examples, and what they were decoded to.

    Raises:
        Changed: it says something else of one.
    """
    if not (path / FILE).is_file():
        return 0  # It was exported without, or before there were any.
    with (path / FILE).open("rb") as file, np.load(file) as arrays:
        raws = [arrays[f"raw.{n}"].tobytes() for n in range(_count(arrays))]
        inputs, outputs = _named(arrays, "input."), _named(arrays, "output.")
    network = signatures[next(name for name in signatures if name != _SERVED)]
    with hardware.full_precision(), ThreadPoolExecutor() as both:
        # Together: what takes long is that TensorFlow optimizes each graph when it is first asked.
        served = both.submit(signatures[_SERVED], raw=tf.constant(raws))
        decoded = both.submit(network, **{n: tf.constant(value) for n, value in inputs.items()})
    differs = _first(targets, decoded.result(), outputs)
    if wrong := _first(targets, served.result(), outputs) or differs:
        what = "the network" if differs else "how it is decoded"
        number, name, now, was = wrong
        raise Changed(
            f"{path} must say what it said when it was exported, got {name} {now} for its golden "
            f"example {number}, which was {was}: {what} differs"
        )
    return len(raws)


def apart(target: Target, got: Any, wanted: np.ndarray) -> np.ndarray:
    """How far one output is from another, in probability or in deviations of the answers.

    What a number, such as a year, is off by because it is far from 0 does not count.
    """
    found: np.ndarray = np.abs(np.asarray(got) - wanted)
    if not target.space.labels:
        found = np.maximum(found - 2 * np.spacing(np.abs(wanted).astype(np.float32)), 0.0)
    return found / target.space.deviation


def abstained(got: Mapping[str, Any], value: np.ndarray) -> np.ndarray:
    """Where no number is answered because the example is not known to the model."""
    if KNOWN not in got:
        return np.zeros(value.shape, bool)
    unknown = ~np.asarray(got[KNOWN]).reshape(-1, *[1] * (value.ndim - 1))
    found: np.ndarray = np.isnan(value) & unknown
    return found


def _count(arrays: Any) -> int:
    return sum(name.startswith("raw.") for name in arrays.files)


def _named(arrays: Any, prefix: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): arrays[n] for n in arrays.files if n.startswith(prefix)}


def _first(
    targets: Sequence[Target], got: Mapping[str, Any], wanted: Mapping[str, np.ndarray]
) -> tuple[int, str, Any, Any] | None:
    """The first example of which something else is said: (number, output, now, was)."""
    for target in targets:
        own = [name for name in wanted if name.startswith(target.named(""))]
        for name in own:
            value = np.asarray(got[name])
            # NaN is not near anything.
            far = ~(apart(target, value, wanted[name]) <= TOLERANCE) & ~abstained(got, value)
            if far.any():
                number = int(np.argwhere(far)[0][0])
                at = tuple(np.argwhere(far)[0])
                return number, name, float(value[at]), float(wanted[name][at])
    return None
