"""Ingest by a Beam runner: a dataset that TFDS writes by Beam."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds

from components.examples import dataset, placing, sources
from components.examples.placing import Row, Wanted
from components.examples.tables import SPLITS, Record
from components.files import read_jsonl
from components.job import Job
from components.on_beam import runner as beam_runner

_LINES = "lines"


def write(job: Job, wanted: Wanted) -> list[Row]:
    """Write the dataset into the job's directory, if no split is empty.

    Returns:
        The rows of the examples, and of what cannot be used.
    """

    def attempt() -> None:
        for left in job.directory.iterdir():  # Of a try that failed.
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        builder = _Builder(
            directory=job.directory,
            wanted=wanted,
            modality=wanted.source.modality,
            targets=wanted.targets,
            data_dir=job.directory,
        )
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                beam_runner=job.beam.runner, beam_options=beam_runner.options(job.beam)
            )
        )

    try:
        beam_runner.again(attempt)
    except ValueError as error:
        # A split without examples: TFDS cannot write it, and the rows say which it is.
        if "number of generated examples is 0" not in str(error):
            raise
    lines = list(job.directory.glob(f"{_LINES}-*-of-*"))
    rows = [row for path in lines for row in read_jsonl(path)]
    for path in lines:
        path.unlink()
    return rows


class _Builder(dataset.Builder, skip_registration=True):  # type: ignore[call-arg]
    name = dataset.Builder.name

    def __init__(self, *, directory: Path, wanted: Wanted, **arguments: Any) -> None:
        self._directory, self._wanted = directory, wanted
        super().__init__(splits={}, **arguments)

    def _split_generators(  # type: ignore[override]  # It is TFDS that may give a pipeline.
        self, dl_manager: Any, pipeline: Any
    ) -> dict[str, Any]:
        """Each split → a PCollection of (key, example)."""
        source, modality = self._wanted.source, self._wanted.source.modality
        # The listing may be as long as the data: no worker needs all of it.
        wanted = replace(self._wanted, source=replace(source, listing=None))
        records = sources.records(source, pipeline) | "Choose" >> beam.Filter(
            placing.accepts, wanted.targets
        )
        checked = records | "Check" >> beam.FlatMap(_check, wanted).with_outputs("bad", main="good")
        assigned = (
            checked.good
            | "Answers" >> beam.Map(lambda row: (0, placing.member(row)))
            | "Gather answers" >> beam.GroupByKey()
            | "Assign" >> beam.FlatMap(lambda all_of: placing.assign(all_of[1], wanted))
        )
        placed = (
            {
                "rows": checked.good | "Key by same" >> beam.Map(lambda r: (r["same"], r)),
                "to": assigned,
            }
            | "Join" >> beam.CoGroupByKey()
            | "Place" >> beam.FlatMap(_place, wanted).with_outputs("bad", main="good")
        )
        rows, aside = placed.good, placed.bad
        index = rows | "Facts" >> beam.Map(placing.without_raw)
        lines = (index, checked.bad, aside) | "All lines" >> beam.Flatten()
        _ = (
            lines
            | "As text" >> beam.Map(json.dumps)
            | "Write lines" >> beam.io.WriteToText(str(self._directory / _LINES))
        )
        return {
            split: rows
            | f"Only {split}" >> beam.Filter(lambda row, split=split: row["split"] == split)
            | f"As examples of {split}" >> beam.Map(placing.as_example, modality, wanted.targets)
            for split in SPLITS
        }


def _check(record: Record, wanted: Wanted) -> Iterator[Any]:
    yield from _tagged([placing.check(record, wanted, _known_facts(wanted.known))])


@functools.lru_cache(maxsize=1)
def _known_facts(known: Path | None) -> dict[str, Any]:
    """Once a worker."""
    return placing.known_facts(known)


def _place(group: tuple[str, dict[str, Any]], wanted: Wanted) -> Iterator[Any]:
    _, members = group
    yield from _tagged(placing.place(members["rows"], members["to"], wanted))


def _tagged(rows: Iterable[Row]) -> Iterator[Any]:
    """The rows, those with a reason as the output `bad`."""
    for row in rows:
        yield beam.pvalue.TaggedOutput("bad", row) if "reason" in row else row
