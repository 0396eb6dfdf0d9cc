"""The engine against the floor that the hardware sets: time, growth and memory."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from components.examples import dataset
from components.frozen.networks import cut, open_backbone
from components.modalities.table import open_reader
from components.training.data import training_data
from models import folding, freezing, hardware, heads
from tests.benchmarks.setting import BATCH, CUT, TUNE_EPOCHS, Clock, Task
from tests.conftest import ROOT
from tests.helpers import PLAIN, job

TIMES = 8


def grow(photographs: Path, directory: Path, share: float) -> Path:
    """`share` times the training photographs: all of them, and again, each time cropped anew.

    Below 1, only as many of each class.
    """
    for source in sorted(photographs.glob("train/*/*.jpg")):
        target = directory / "train" / source.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    for folder in (directory / "train").iterdir():
        files = sorted(folder.iterdir())
        for path in files[round(share * len(files)) :]:
            path.unlink()
        for copy in range(1, int(share)):
            for path in files:
                buffer = io.BytesIO()
                with Image.open(path) as picture:
                    box = (copy, copy, picture.width - copy, picture.height - copy)
                    picture.convert("RGB").crop(box).save(buffer, "JPEG", quality=92)
                path.with_name(f"{copy}-{path.name}").write_bytes(buffer.getvalue())
    shutil.copytree(photographs / "test", directory / "test")
    return directory


def growth(work: Path, photographs: Path) -> dict[str, Any]:
    """95 % of the photographs, then all: what extraction computes the second time."""
    counts = []
    for share in (0.95, 1.0):
        place = work / f"{share}"
        task = Task.of(place, grow(photographs, place / "photos", share))
        clock = Clock(work / "stages")  # One store of activations for both.
        features = clock.extract(task, 0)
        counts.append({"seconds": clock.seconds["extract"], **features.stats})
    total = counts[1]["computed"] + counts[1]["reused"]
    return {
        "photographs added": 1 - counts[0]["computed"] / total,
        "computed": counts[1]["computed"] / total,
        "first": counts[0],
        "then": counts[1],
    }


def feature_pass(work: Path, photographs: Path) -> dict[str, float]:
    """Seconds of the pass over 8 times the photographs, and of its parts alone."""
    task = Task.of(work / "many", grow(photographs, work / "many" / "photos", TIMES))
    clock = Clock(work / "many" / "stages")
    features = clock.extract(task, 0)
    rows = sum(features.counts.values())

    def raw() -> Any:
        for split in ("train", "validation"):
            for row in dataset.rows(task.examples, split):
                yield row.id.encode(), row.raw, [0]

    started = time.monotonic()
    for decoded in open_reader(task.model).batches(raw, BATCH, augmented=False):
        last = decoded.inputs[0]
    decoding = time.monotonic() - started
    network = open_backbone(task.model, task.model.weights)
    batch = tf.constant(np.resize(last, (BATCH, *last.shape[1:])))
    bare = _best(lambda x: network(x, training=False), batch) * rows / 1000
    folded = folding.fold(cut(task.model, network, None).prefix)
    ours = _best(lambda x: folded(x, training=False), batch) * rows / 1000
    return {
        "rows": rows,
        "pass": clock.seconds["extract"],
        "decoding alone": decoding,
        "bare forward alone": bare,
        "folded forward alone": ours,
        "ratio": clock.seconds["extract"] / (decoding + bare),
        "ratio to folded": clock.seconds["extract"] / (decoding + ours),
    }


def epochs(task: Task) -> dict[str, float]:
    """Seconds of a fine-tuning epoch against the bare forward and backward pass of its batches."""
    clock = Clock(task.work / "epochs" / "stages")
    features = clock.extract(task, 0)
    clock.train(features, 0)
    moments = clock.epochs["fine_tune"]
    epoch = median(b - a for a, b in itertools.pairwise(moments))
    data = training_data(job(task.work / "data"), features, "at_cut", PLAIN).training
    steps = data.steps(BATCH)
    size = -(-len(data) // steps)
    network = open_backbone(task.model, task.model.weights)
    suffix = cut(task.model, network, CUT).suffix
    freezing.unfreeze(suffix.layers)
    inputs, targets, _ = (tf.constant(each) for each in data.gather(np.arange(size), 0))

    def step(tail: keras.Model) -> Callable[[Any], Any]:
        def both(x: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, tail(x)))
            return tape.gradient(loss, [v.value for v in tail.trainable_variables])

        return both

    def tail_of(part: keras.Model) -> keras.Model:
        head = heads.build_head(
            features=network.output_shape[-1],
            outputs=[("probabilities", 2, "softmax")],
            normalize=False,
        )
        return heads.join(part, head)

    # Folded first: once joined, a network's layers are called elsewhere, too.
    ours = tail_of(folding.fold(suffix, precision=hardware.half_precision()))
    bare = tail_of(suffix)
    forward = _best(lambda x: bare(x, training=False), inputs) * size / 1000
    plain = _best(step(bare), inputs) * size / 1000
    xla = _best(step(bare), inputs, jit_compile=True) * size / 1000
    folded = _best(step(ours), inputs) * size / 1000
    started = time.monotonic()
    for chosen in np.array_split(np.arange(len(data)), steps):
        data.gather(chosen, 0)
    gathering = time.monotonic() - started
    total = clock.seconds["fine_tune"]
    floor = TUNE_EPOCHS * steps * folded
    return {
        "epoch": epoch,
        "steps": steps,
        "epoch / (steps x bare forward and backward)": epoch / (steps * plain),
        "epoch / (steps x ours alone)": epoch / (steps * folded),
        "step: bare forward": forward,
        "step: bare backward": plain - forward,
        "step: bare with XLA, the default of compile()": xla,
        "step: ours, folded and 16 bits": folded,
        "fine_tune: total": total,
        "fine_tune: forward and backward": floor,
        "fine_tune: data": TUNE_EPOCHS * gathering,
        "fine_tune: other work of the epochs": TUNE_EPOCHS * (epoch - gathering) - floor,
        "fine_tune: building, compiling, writing": total - TUNE_EPOCHS * epoch,
    }


def memory(work: Path, photographs: Path) -> dict[str, float]:
    """Peak resident memory, MiB, of all stages in a process of its own, at 1 and 8 times."""
    peaks: dict[str, dict[str, float]] = defaultdict(dict)
    for times in (1, TIMES):
        place = work / f"memory-{times}"
        grow(photographs, place / "photos", times)
        command = [sys.executable, "-m", "tests.benchmarks.memory", str(place)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for stages, peak in json.loads(done.stdout.rpartition("PEAK")[2]).items():
            peaks[stages][f"{times}x"] = peak
        peaks["all"][f"{times}x"] = max(each.get(f"{times}x", 0.0) for each in peaks.values())
    for row in peaks.values():
        row["ratio"] = row[f"{TIMES}x"] / row["1x"]
    return {f"{stages}: {key}": v for stages, row in peaks.items() for key, v in row.items()}


def _best(function: Any, argument: Any, *, jit_compile: bool = False) -> float:
    """Milliseconds an example of a compiled call: the third best of a dozen."""
    compiled = tf.function(function, jit_compile=jit_compile)
    times = []
    for _ in range(12):
        started = time.monotonic()
        keras.tree.map_structure(np.asarray, compiled(argument))
        times.append(time.monotonic() - started)
    return 1000 * sorted(times)[2] / len(argument)
