"""What validate counts: of each example, of those of one content, and of those that are the same.

The same small functions go over the rows in this process and in Beam's, and what they count is
added up.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from etils import epy

from components.files import read_jsonl
from components.job import Job

with epy.lazy_imports():
    import apache_beam as beam

    from components import beam_runner

Row = dict[str, Any]
# What is counted: ("examples", split, label), ("fact", name, value), ("ids",), ("kinds",),
# ("conflicts",), and ("clash", …) for an example that is in two splits.
Key = tuple[Any, ...]


def count(job: Job, index: Path) -> Counter[Key]:
    """How often there is what, in the rows of the file `index`."""
    return _on_beam(job, index) if job.beam.runner else _here(index)


def spread(values: Counter[int]) -> list[int]:
    """Least, median (the upper of two) and greatest of values and how often each occurs."""
    middle, passed = values.total() // 2, 0
    for value in sorted(values):
        passed += values[value]
        if passed > middle:
            return [min(values), value, max(values)]
    raise ValueError("there must be a value, got none")


def _of_row(row: Row) -> Iterator[Key]:
    yield "examples", row["split"], row["label"]
    for name, value in row["facts"].items():
        yield "fact", name, value


def _of_content(rows: Iterable[Row]) -> Iterator[Key]:
    """Of the rows with one id."""
    ordered = sorted(rows, key=lambda row: (row["name"], row["split"], row["label"]))
    yield ("ids",)
    if len({row["label"] for row in ordered}) > 1:
        yield ("conflicts",)
    first = ordered[0]
    for row in ordered:
        if row["split"] != first["split"]:
            yield "clash", first["name"], first["split"], row["name"], row["split"]
            return


def _here(index: Path) -> Counter[Key]:
    counted: Counter[Key] = Counter()
    contents: dict[str, list[Row]] = defaultdict(list)
    for row in read_jsonl(index):
        counted.update(_of_row(row))
        contents[row["id"]].append({k: row[k] for k in ("name", "split", "label", "same")})
    for rows in contents.values():
        counted.update(_of_content(rows))
    counted[("kinds",)] = len({row["same"] for rows in contents.values() for row in rows})
    return counted


def _on_beam(job: Job, index: Path) -> Counter[Key]:
    out = job.directory / "counted"

    def build(pipeline: Any) -> None:
        rows = pipeline | beam.io.ReadFromText(str(index)) | "Parse" >> beam.Map(json.loads)
        contents = (
            rows
            | "Key by id" >> beam.Map(lambda row: (row["id"], row))
            | "Gather contents" >> beam.GroupByKey()
            | "Of contents" >> beam.FlatMap(lambda group: _of_content(group[1]))
        )
        kinds = (
            rows
            | "Same" >> beam.Map(lambda row: row["same"])
            | "Kinds" >> beam.Distinct()
            | "Of kinds" >> beam.Map(lambda _: ("kinds",))
        )
        _ = (
            (rows | "Of rows" >> beam.FlatMap(_of_row), contents, kinds)
            | "All" >> beam.Flatten()
            | "As text" >> beam.Map(json.dumps)
            | "Count" >> beam.combiners.Count.PerElement()
            | "Lines" >> beam.Map(json.dumps)
            | "Write" >> beam.io.WriteToText(str(out))
        )

    beam_runner.run(job.beam, build)
    counted: Counter[Key] = Counter()
    for path in out.parent.glob(f"{out.name}-*-of-*"):
        counted.update({tuple(json.loads(key)): times for key, times in read_jsonl(path)})
        path.unlink()
    return counted
