"""What it costs to look before one reads: at headers of pictures and sounds, and at a program."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.modalities.photos import raw as photos
from components.served.inspecting import inspect

_ROUNDS = 12


def measure(_: Path, data: Path, write: Callable[[dict[str, Any]], None]) -> None:
    """A row for each gate.

    Args:
        data: a folder of photographs.
        write: told of each row.
    """
    files = sorted(data.rglob("*.jpg"))[:200]
    write(_of_pictures([path.read_bytes() for path in files]))
    write(_of_a_program())


def _of_pictures(raws: Sequence[bytes]) -> dict[str, Any]:
    """The decoder alone, with what it looks at before, and turning what it has decoded."""
    ways: dict[str, Callable[[Any], Any]] = {
        "alone": lambda raw: tf.io.decode_jpeg(raw, channels=3, dct_method="INTEGER_ACCURATE"),
        "looked at": photos._stored_pixels,
        "turned": photos._pixels,
    }
    spec = [tf.TensorSpec((), tf.string)]
    reads = {name: tf.function(way, input_signature=spec) for name, way in ways.items()}
    tensors = [tf.constant(raw) for raw in raws]
    seconds: dict[str, float] = dict.fromkeys(ways, math.inf)
    for _ in range(_ROUNDS):
        for name, read in reads.items():
            begun = time.process_time()
            for raw in tensors:
                read(raw)
            # The least: what others do on this machine only adds.
            seconds[name] = min(seconds[name], time.process_time() - begun)
    return {
        "gate": "pictures",
        "number": len(raws),
        "ms_decoding": 1e3 * seconds["alone"] / len(raws),
        "share_of_headers": seconds["looked at"] / seconds["alone"] - 1,
        "share_of_orientation": (seconds["turned"] - seconds["looked at"]) / seconds["alone"],
    }


def _of_a_program() -> dict[str, Any]:
    """A large network, and one whose program is large: it holds 100 MB of constants."""
    network = keras.applications.ResNet50(weights=None)
    held = tf.constant(np.random.default_rng(0).random((25, 1_000_000), np.float32))
    module = tf.Module()
    module.serve = tf.function(
        lambda raw: {"sum": tf.reduce_sum(tf.constant(held.numpy())) + tf.cast(raw, tf.float32)},
        input_signature=[tf.TensorSpec((), tf.int32)],
    )
    row: dict[str, Any] = {"gate": "programs"}
    with tempfile.TemporaryDirectory() as directory:
        network.export(f"{directory}/network", verbose=False)
        tf.saved_model.save(module, f"{directory}/constants")
        for name in ("network", "constants"):
            place = Path(directory) / name
            inspect(place)  # What it needs is imported once.
            begun = time.perf_counter()
            inspect(place)
            row[f"ms_{name}"] = 1e3 * (time.perf_counter() - begun)
            row[f"MB_{name}"] = sum(p.stat().st_size for p in place.rglob("*")) / 1e6
            row[f"MB_program_{name}"] = (place / "saved_model.pb").stat().st_size / 1e6
    return row
