"""Bulk inference: every example of a folder, a table or a dataset through the served signature."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

from etils import epy

from components.examples import inputs
from components.examples.in_tfds import TFDS
from components.examples.inputs import Input
from components.job import Progress
from components.served import answers
from components.served.answers import Asked, Done, Row
from components.served.opening import Opened

with epy.lazy_imports():
    import pyarrow as pa
    import tensorflow as tf
    from pyarrow import parquet


def predict(asked: Asked, locations: tuple[str, ...], output: Path, progress: Progress) -> Done:
    """Ask about all examples at `locations`; nothing is left half written."""
    model = Opened(asked.model, asked.modality, asked.targets)
    examples = chain.from_iterable(_examples(location, asked) for location in locations)
    quarantine = answers.quarantine_of(output)
    predicted = quarantined = 0
    with _written(output, asked) as write, _written(quarantine, asked) as set_aside:
        for batch in _batches(examples, asked.batch_size):
            good = [one for one in batch if isinstance(one, tuple)]
            rows = [one for one in batch if isinstance(one, dict)]
            rows += answers.ask(model, good) if good else []
            answered = [row for row in rows if "reason" not in row]
            unanswered = [row for row in rows if "reason" in row]
            write(answered)
            set_aside(unanswered)
            predicted, quarantined = predicted + len(answered), quarantined + len(unanswered)
            progress("predict", predicted + quarantined, 0)
    return Done(predicted, quarantined, (str(output),), str(quarantine))


def _examples(location: str, asked: Asked) -> Iterator[Input]:
    if location.startswith(TFDS):
        return inputs.of_tfds(inputs.open_tfds(location, asked.modality), asked.modality)
    return inputs.listed(location, asked.modality, asked.root)


def _batches(examples: Iterator[Input], size: int) -> Iterator[list[tuple[str, bytes] | Row]]:
    """What was read of the examples, the next batch while this one is at work."""
    with ThreadPoolExecutor(8) as pool:
        ahead = [pool.submit(answers.read, one) for one in islice(examples, size)]
        while ahead:
            batch = ahead
            ahead = [pool.submit(answers.read, one) for one in islice(examples, size)]
            yield [each.result() for each in batch]


@contextlib.contextmanager
def _written(output: Path, asked: Asked) -> Iterator[Callable[[list[Row]], None]]:
    """A function that appends rows to `output`, which is whole at the end, or absent."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with WRITERS[output.suffix](temporary, asked) as write:
            yield write
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _jsonl(path: Path, asked: Asked) -> Iterator[Callable[[Iterable[Row]], None]]:
    del asked
    with path.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(answers.as_json(row) + "\n" for row in rows)


@contextlib.contextmanager
def _parquet(path: Path, asked: Asked) -> Iterator[Callable[[list[Row]], None]]:
    schema = answers.schema(asked)
    with parquet.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema))


@contextlib.contextmanager
def _tfrecord(path: Path, asked: Asked) -> Iterator[Callable[[list[Row]], None]]:
    del asked
    with tf.io.TFRecordWriter(str(path)) as writer:

        def write(rows: list[Row]) -> None:
            for row in rows:
                writer.write(answers.as_example(row))

        yield write


# What a file's suffix says of its form.
WRITERS: dict[str, Callable[[Path, Asked], Any]] = {
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".tfrecord": _tfrecord,
}
