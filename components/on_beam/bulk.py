"""Bulk inference on any Beam runner; the model is loaded once in a worker, by RunInference."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.ml.inference.base import ModelHandler, RunInference

from components.examples import inputs
from components.examples.in_tfds import TFDS, feature_of
from components.examples.inputs import Input
from components.on_beam import runner as beam_runner
from components.section import BeamConfig
from components.served import answers
from components.served.answers import Asked, Done, Row
from components.served.opening import Opened
from models.quiet import import_tensorflow


def predict(asked: Asked, locations: tuple[str, ...], output: Path, config: BeamConfig) -> Done:
    """`served.bulk.predict` by the runner of `config`; the output is in parts."""
    aside = answers.quarantine_of(output)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        counts, made = Path(folder) / "counts", Path(folder) / output.name
        set_aside = Path(folder) / aside.name

        def build(pipeline: Any) -> None:
            read = (
                [
                    _examples(pipeline, location, asked, number)
                    for number, location in enumerate(locations)
                ]
                | "All inputs" >> beam.Flatten()
                | "Spread" >> beam.Reshuffle()
                | "Read" >> beam.Map(answers.read)
            )
            answered = (
                read
                | "Read well" >> beam.Filter(lambda one: isinstance(one, tuple))
                | "Ask" >> RunInference(_Handler(asked))
            )
            unread = read | "Unread" >> beam.Filter(lambda one: isinstance(one, dict))
            rows = answered | "Answered" >> beam.Filter(lambda row: "reason" not in row)
            bad = (
                unread,
                answered | "Unanswered" >> beam.Filter(lambda row: "reason" in row),
            ) | "Quarantine" >> beam.Flatten()
            _ = rows | "Write" >> _sink(made, asked)
            _ = (
                bad
                | "Lines" >> beam.Map(answers.as_json)
                | "Write quarantine"
                >> beam.io.WriteToText(str(set_aside), num_shards=1, shard_name_template="")
            )
            _ = (
                (rows | "0" >> beam.Map(lambda _: 0), bad | "1" >> beam.Map(lambda _: 1))
                | "Both" >> beam.Flatten()
                | "Count" >> beam.combiners.Count.PerElement()
                | "Counts" >> beam.Map(lambda counted: f"{counted[0]} {counted[1]}")
                | "Write counts" >> beam.io.WriteToText(str(counts))
            )

        beam_runner.run(config, build)
        found = dict.fromkeys((0, 1), 0)
        for path in counts.parent.glob(f"{counts.name}-*"):
            for line in path.read_text().splitlines():
                which, _, times = line.partition(" ")
                found[int(which)] += int(times)
        part = re.compile(re.escape(output.stem) + r"-\d{5}-of-\d{5}" + re.escape(output.suffix))
        for old in output.parent.iterdir():
            if part.fullmatch(old.name):
                old.unlink()
        new = sorted(path for path in Path(folder).iterdir() if part.fullmatch(path.name))
        parts = [str(path.rename(output.parent / path.name)) for path in new]
        set_aside.replace(aside)
    return Done(found[0], found[1], tuple(parts), str(aside))


class _Handler(ModelHandler[tuple[str, bytes], Row, Any]):
    """The served signature as Beam's RunInference wants it."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    def load_model(self) -> Any:
        import_tensorflow()
        return Opened(self._asked.model, self._asked.modality, self._asked.targets)

    def run_inference(
        self, batch: Sequence[tuple[str, bytes]], model: Any, inference_args: Any = None
    ) -> Iterable[Row]:
        return list(answers.ask(model, list(batch)))

    def batch_elements_kwargs(self) -> dict[str, int]:
        size = self._asked.batch_size
        return {"min_batch_size": size, "max_batch_size": size}


def _examples(pipeline: Any, location: str, asked: Asked, number: int) -> Any:
    modality = asked.modality
    if not location.startswith(TFDS):
        found = list(inputs.listed(location, modality, asked.root))
        return pipeline | f"List {number}" >> beam.Create(found)
    builder = inputs.open_tfds(location, modality)
    name = feature_of(builder, modality)
    decoders = {name: tfds.decode.SkipDecoding()}
    given = (name, builder.info.features[name], modality)
    return [
        pipeline
        | f"Read {number} {split}"
        >> tfds.beam.ReadFromTFDS(builder, split=split, decoders=decoders)
        | f"Input {number} {split}" >> beam.Map(_of_row, *given)
        for split in builder.info.splits
    ] | f"Splits {number}" >> beam.Flatten()


def _of_row(row: dict[str, Any], name: str, feature: Any, modality: str) -> Input:
    return inputs.of_value(row[name].numpy(), feature, modality)


def _sink(output: Path, asked: Asked) -> Any:
    """The file's form, by its suffix."""
    prefix, suffix = str(output.with_suffix("")), output.suffix
    if suffix == ".parquet":
        schema = answers.schema(asked)
        return beam.io.WriteToParquet(prefix, schema, file_name_suffix=suffix)
    if suffix == ".tfrecord":
        return _Converted(
            answers.as_example, beam.io.WriteToTFRecord(prefix, file_name_suffix=suffix)
        )
    return _Converted(answers.as_json, beam.io.WriteToText(prefix, file_name_suffix=suffix))


class _Converted(beam.PTransform):
    """Rows converted for a sink."""

    def __init__(self, convert: Any, sink: Any) -> None:
        super().__init__()
        self._convert, self._sink = convert, sink

    def expand(self, rows: Any) -> Any:
        return rows | "Convert" >> beam.Map(self._convert) | "Sink" >> self._sink
