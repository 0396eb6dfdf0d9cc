"""What a model answers: a row an example, and the forms that rows are written in.

```
OUTPUT                       a row an example: input, and what the model says of it
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
from components.examples.reasons import code_of
from components.served.manifest import targets_of, verify_manifest
from components.served.opening import LIKENESS, Opened, named_said
from components.tasks.protocol import Target
from components.tasks.table import task_of
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
        targets: what it answers.
        batch_size: examples a request.
        likeness: whether it says how unlike an example is to those that it was trained on.
        root: where files must be, see `inputs.listed`.
    """

    model: Path
    modality: str
    targets: tuple[Target, ...]
    batch_size: int
    likeness: bool = False
    root: str = ""


def asked(model: Path, output: Path, batch_size: int, root: str = "") -> Asked:
    """`model`, to be asked about many examples; a `Mistake` where there is no place for answers."""
    if output.suffix not in SUFFIXES:
        raise Mistake(f"--output must end in one of {', '.join(SUFFIXES)}, got {str(output)!r}")
    if not output.absolute().parent.is_dir():
        raise Mistake(f"--output must be in a folder that exists, got {str(output)!r}")
    manifest = verify_manifest(model)
    likeness = bool(manifest.get("likeness"))
    targets = targets_of(manifest)
    return Asked(model.resolve(), manifest["modality"], targets, batch_size, likeness, root)


def quarantine_of(output: Path) -> Path:
    return output.with_suffix(".quarantine.jsonl")


def ask(model: Opened, examples: list[tuple[str, bytes]]) -> Iterator[Row]:
    """A row for each of a batch of (name, raw form); where there is no answer, with a reason."""
    answers = model.ask([raw for _, raw in examples]).said()
    for (name, _), answered in zip(examples, answers, strict=True):
        if answered.valid:
            yield {"input": name, **named_said(model.targets, answered.said), **answered.likeness}
        else:
            yield _set_aside(name, UNREADABLE)


def read(example: Input) -> tuple[str, bytes] | Row:
    """Name and raw form; or, where it cannot be read, a row with the reason."""
    try:
        return example.name, example.read()
    except (OSError, ValueError) as error:
        cause = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        return _set_aside(example.name, cause)


def _set_aside(name: str, reason: str) -> Row:
    return {"input": name, "reason": reason, "code": code_of(reason)}


def as_json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def as_example(row: Row) -> bytes:
    """A `tf.train.Example`, serialized."""
    features = {name: _feature(value) for name, value in row.items()}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    serialized: bytes = example.SerializeToString()
    return serialized


def _feature(value: Any) -> Any:
    if value is None:
        return tf.train.Feature()
    values = value if isinstance(value, list) else [value]
    if all(isinstance(each, bool) for each in values) and values:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))
    if all(isinstance(each, float) for each in values) and values:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    texts = [each.encode() for each in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))


def schema(asked: Asked) -> Any:
    """Of the Parquet form."""
    targets = asked.targets
    kinds = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "number": pa.float32(),
        "numbers": pa.list_(pa.float32()),
    }
    columns = [
        (target.named(name), kinds[kind])
        for target in targets
        for name, kind in task_of(target).columns(target.space)
    ]
    alike = zip(LIKENESS, (pa.bool_(), pa.float32(), pa.string()), strict=True)
    return pa.schema([("input", pa.string()), *columns, *(alike if asked.likeness else ())])
