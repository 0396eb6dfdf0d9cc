"""The feature pass on any Beam runner: the same activations, under the same names.

Examples are gathered into parts by their ids, and each part becomes one shard of the activation
store, named after what is in it: who computes a part again, because a worker was lost, writes the
same shard, or finds it there. The network is loaded once in a worker.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.utils.shared import Shared

from components.artifacts import TRAINED_ON, Examples
from components.files import read_jsonl, sha256_of_json
from components.frozen.feature_pass import FeaturePass
from components.job import Job
from components.on_beam import runner as beam_runner
from models.quiet import import_tensorflow

# At least so many examples are a part, and no more parts than this: a worker that is lost takes
# little with it, and there are not too many shards to look into.
SMALLEST, MOST = 64, 4096


def compute(
    job: Job,
    feature_pass: FeaturePass,
    examples: Examples,
    names: tuple[str, ...],
    wanted: dict[str, list[int]],
) -> int:
    """`FeaturePass.compute` for `wanted`, by the runner of `job.beam`."""
    parts = min(-(-len(wanted) // SMALLEST), MOST)
    made = job.directory / "made"
    builder = tfds.builder_from_directory(examples.dataset)

    def build(pipeline: Any) -> None:
        raw = [
            pipeline
            | f"Read {split}"
            >> tfds.beam.ReadFromTFDS(
                builder, split=split, decoders={examples.modality: tfds.decode.SkipDecoding()}
            )
            | f"Key {split}" >> beam.Map(_keyed, examples.modality)
            for split in TRAINED_ON
            if examples.counts[split]
        ] | beam.Flatten()
        _ = (
            {"raw": raw, "views": pipeline | "Wanted" >> beam.Create(list(wanted.items()))}
            | "Join" >> beam.CoGroupByKey()
            | "Part" >> beam.FlatMap(_part, parts)
            | "Gather parts" >> beam.GroupByKey()
            | "Extract" >> beam.ParDo(_Extract(feature_pass, names))
            | "Lines" >> beam.Map(json.dumps)
            | "Write what was made" >> beam.io.WriteToText(str(made))
        )

    beam_runner.run(job.beam, build)
    count = 0
    for path in job.directory.glob(f"{made.name}-*-of-*"):
        count += sum(read_jsonl(path))
        path.unlink()
    return count


def _keyed(row: dict[str, Any], modality: str) -> tuple[str, bytes]:
    return row["id"].numpy().decode(), row[modality].numpy()


def _part(
    joined: tuple[str, dict[str, Any]], parts: int
) -> Iterator[tuple[int, tuple[str, bytes, list[int]]]]:
    """The number of an example's part, its id, raw form and views, where any is wanted."""
    identity, found = joined
    for views in found["views"]:
        yield int(identity[:8], 16) % parts, (identity, next(iter(found["raw"])), views)


class _Extract(beam.DoFn):
    """A part → how many activations of it were made."""

    def __init__(self, feature_pass: FeaturePass, names: tuple[str, ...]) -> None:
        self._pass, self._names = feature_pass, names
        self._shared = Shared()

    def setup(self) -> None:
        self._opened = self._shared.acquire(lambda: _Opened(self._pass))

    def process(self, part: tuple[int, Iterable[tuple[str, bytes, list[int]]]]) -> Iterator[int]:
        rows = sorted(part[1])
        wanted = {identity: views for identity, _, views in rows}
        variants = self._pass.variants
        named = [identity + variants[view] for identity, views in wanted.items() for view in views]
        shard = sha256_of_json([self._names, named])[:32]
        with self._opened.lock:
            opened = self._opened.feature_pass
            stores = [opened.outputs[name].store for name in self._names]
            if not all((store.directory / f"{shard}.json").is_file() for store in stores):
                opened.compute(
                    self._names, wanted, lambda: _encoded(rows), _no_progress, shard=shard
                )
        yield sum(map(len, wanted.values()))


class _Opened:
    """What the threads of a worker share: one network, which computes one part at a time."""

    def __init__(self, feature_pass: FeaturePass) -> None:
        import_tensorflow()
        self.feature_pass = feature_pass
        self.lock = threading.Lock()


def _encoded(
    rows: list[tuple[str, bytes, list[int]]],
) -> Iterator[tuple[bytes, bytes, list[int]]]:
    for identity, raw, views in rows:
        yield identity.encode(), raw, views


def _no_progress(what: str, done: int, total: int, note: str = "") -> None:
    """A worker has nobody to tell."""
