"""What validate counts, by a Beam runner."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.examples.counting import Key, of_content, of_row
from components.files import read_jsonl
from components.job import Job
from components.on_beam import runner as beam_runner


def count(job: Job, index: Path, tasks: tuple[str, ...]) -> Counter[Key]:
    """`examples.counting.count` by the runner of `job.beam`."""
    out = job.directory / "counted"

    def build(pipeline: Any) -> None:
        rows = pipeline | beam.io.ReadFromText(str(index)) | "Parse" >> beam.Map(json.loads)
        contents = (
            rows
            | "Key by id" >> beam.Map(lambda row: (row["id"], row))
            | "Gather contents" >> beam.GroupByKey()
            | "Of contents" >> beam.FlatMap(lambda group: of_content(group[1]))
        )
        kinds = (
            rows
            | "Same" >> beam.Map(lambda row: row["same"])
            | "Kinds" >> beam.Distinct()
            | "Of kinds" >> beam.Map(lambda _: ("kinds",))
        )
        _ = (
            (rows | "Of rows" >> beam.FlatMap(of_row, tasks), contents, kinds)
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
