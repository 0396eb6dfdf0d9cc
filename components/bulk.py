"""Bulk inference: every example of a folder, a table or a dataset through the served signature.

```
OUTPUT                       a row an example: input, label, probabilities in the model's order
OUTPUT-00000-of-00004.…      the same, as Beam writes it
OUTPUT.quarantine.jsonl      a row an example that has no answer: input, reason
```
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from etils import epy

from components import inputs
from components.export import verify_manifest
from components.inputs import Input
from components.job import BeamConfig, Progress
from components.serving import open_model
from components.sources import TFDS
from models.mistakes import Mistake

with epy.lazy_imports():
    import pyarrow as pa
    import tensorflow as tf
    from pyarrow import parquet

    from components import bulk_on_beam

Row = dict[str, Any]
UNREADABLE = "the model cannot read it"


@dataclass(frozen=True)
class Done:
    """What became of the examples; `predicted + quarantined` is all of them."""

    predicted: int
    quarantined: int
    outputs: tuple[str, ...]
    quarantine: str


@dataclass(frozen=True)
class Asked:
    """A model, and what it is asked about.

    Attributes:
        model: an exported or pushed model's directory.
        modality: what it reads.
        labels: the order of its probabilities.
        batch_size: examples a request.
    """

    model: Path
    modality: str
    labels: tuple[str, ...]
    batch_size: int


def predict(
    model: Path,
    locations: tuple[str, ...],
    output: Path,
    *,
    batch_size: int,
    beam: BeamConfig,
    progress: Progress,
) -> Done:
    """Ask `model` about all examples at `locations`; nothing is left half written.

    Args:
        output: its suffix is a key of `WRITERS`.
        beam: what runs it; within this process where it names no runner.
    """
    if output.suffix not in WRITERS:
        raise Mistake(f"--output must end in one of {', '.join(WRITERS)}, got {str(output)!r}")
    if not output.absolute().parent.is_dir():
        raise Mistake(f"--output must be in a folder that exists, got {str(output)!r}")
    manifest = verify_manifest(model)
    asked = Asked(model.resolve(), manifest["modality"], tuple(manifest["labels"]), batch_size)
    if beam.runner:
        return bulk_on_beam.predict(asked, locations, output.absolute(), beam)
    return _predict_here(asked, locations, output, progress)


def quarantine_of(output: Path) -> Path:
    return output.with_suffix(".quarantine.jsonl")


def ask(
    signature: Any, examples: list[tuple[str, bytes]], labels: tuple[str, ...]
) -> Iterator[Row]:
    """A row for each of a batch of (name, raw form); where there is no answer, with a reason."""
    answer = signature(raw=tf.constant([raw for _, raw in examples]))
    for (name, _), label, valid, probabilities in zip(
        examples,
        answer["labels"].numpy(),
        answer["valid"].numpy(),
        answer["probabilities"].numpy(),
        strict=True,
    ):
        if valid:
            yield {
                "input": name,
                "label": label.decode(),
                "probabilities": [float(p) for p in probabilities],
            }
        else:
            yield {"input": name, "reason": UNREADABLE}


def read(example: Input) -> tuple[str, bytes] | Row:
    """Name and raw form; or, where it cannot be read, a row with the reason."""
    try:
        return example.name, example.read()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return {"input": example.name, "reason": f"cannot be read: {why}"}


def _predict_here(
    asked: Asked, locations: tuple[str, ...], output: Path, progress: Progress
) -> Done:
    signature = open_model(asked.model, asked.modality)
    examples = chain.from_iterable(_examples(location, asked.modality) for location in locations)
    quarantine = quarantine_of(output)
    predicted = quarantined = 0
    with _written(output) as write, _written(quarantine) as set_aside:
        for batch in _batches(examples, asked.batch_size):
            good = [one for one in batch if isinstance(one, tuple)]
            rows = [one for one in batch if isinstance(one, dict)]
            rows += ask(signature, good, asked.labels) if good else []
            answered = [row for row in rows if "reason" not in row]
            unanswered = [row for row in rows if "reason" in row]
            write(answered)
            set_aside(unanswered)
            predicted, quarantined = predicted + len(answered), quarantined + len(unanswered)
            progress("predict", predicted + quarantined, 0)
    return Done(predicted, quarantined, (str(output),), str(quarantine))


def _examples(location: str, modality: str) -> Iterator[Input]:
    if location.startswith(TFDS):
        return inputs.of_tfds(inputs.open_tfds(location, modality), modality)
    return inputs.listed(location, modality)


def _batches(examples: Iterator[Input], size: int) -> Iterator[list[tuple[str, bytes] | Row]]:
    """What was read of the examples, the next batch while this one is at work."""
    with ThreadPoolExecutor(8) as pool:
        ahead = [pool.submit(read, one) for one in islice(examples, size)]
        while ahead:
            batch = ahead
            ahead = [pool.submit(read, one) for one in islice(examples, size)]
            yield [each.result() for each in batch]


@contextlib.contextmanager
def _written(output: Path) -> Iterator[Callable[[list[Row]], None]]:
    """A function that appends rows to `output`, which is whole at the end, or absent."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with WRITERS[output.suffix](temporary) as write:
            yield write
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[Iterable[Row]], None]]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(as_json(row) + "\n" for row in rows)


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Callable[[list[Row]], None]]:
    with parquet.ParquetWriter(path, schema()) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema()))


@contextlib.contextmanager
def _tfrecord(path: Path) -> Iterator[Callable[[list[Row]], None]]:
    with tf.io.TFRecordWriter(str(path)) as writer:

        def write(rows: list[Row]) -> None:
            for row in rows:
                writer.write(as_example(row))

        yield write


# What a file's suffix says of its form.
WRITERS: dict[str, Callable[[Path], Any]] = {
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".tfrecord": _tfrecord,
}


def as_json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def as_example(row: Row) -> bytes:
    """A `tf.train.Example`, serialized."""
    features = {
        "input": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row["input"].encode()])),
        "label": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row["label"].encode()])),
        "probabilities": tf.train.Feature(
            float_list=tf.train.FloatList(value=row["probabilities"])
        ),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    serialized: bytes = example.SerializeToString()
    return serialized


def schema() -> Any:
    """Of the Parquet form."""
    numbers = pa.list_(pa.float32())
    return pa.schema([("input", pa.string()), ("label", pa.string()), ("probabilities", numbers)])
