"""What a model answers: a row an example, and the forms that rows are written in.

```
OUTPUT                       a row an example: input, label, probabilities in the model's order
OUTPUT-00000-of-00004.…      the same, as Beam writes it
OUTPUT.quarantine.jsonl      a row an example that has no answer: input, reason
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epy

from components.examples.inputs import Input
from components.served.manifest import verify_manifest
from models.mistakes import Mistake

with epy.lazy_imports():
    import pyarrow as pa
    import tensorflow as tf

Row = dict[str, Any]
UNREADABLE = "the model cannot read it"
# The forms that answers are written in.
SUFFIXES = (".jsonl", ".parquet", ".tfrecord")


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


def asked(model: Path, output: Path, batch_size: int) -> Asked:
    """`model`, to be asked about many examples; a `Mistake` where there is no place for answers."""
    if output.suffix not in SUFFIXES:
        raise Mistake(f"--output must end in one of {', '.join(SUFFIXES)}, got {str(output)!r}")
    if not output.absolute().parent.is_dir():
        raise Mistake(f"--output must be in a folder that exists, got {str(output)!r}")
    manifest = verify_manifest(model)
    return Asked(model.resolve(), manifest["modality"], tuple(manifest["labels"]), batch_size)


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
