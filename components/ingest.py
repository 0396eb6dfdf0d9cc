"""ingest (TFX: ExampleGen): raw examples → a TFDS dataset, written by Apache Beam."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from etils import epy
from pydantic import Field

from components import sources
from components.artifacts import Examples
from components.files import content_id, read_jsonl, write_jsonl
from components.job import Job, Section, UnhashedBool, UnhashedStr, stage
from components.modalities import MODALITIES
from components.sources import Source
from components.tables import SPLITS, Record
from models.mistakes import Mistake, nearest

with epy.lazy_imports():
    import apache_beam as beam
    import tensorflow_datasets as tfds

    from components import beam_runner, dataset


LINES = "lines"


class DataConfig(Section):
    """The labelled examples."""

    path: UnhashedStr = ""
    """Folder of class folders, folder of splits, CSV or JSONL file, `tfds:NAME`, or `digits`."""
    modality: Literal["image", "text"] = "image"
    """What kind of input the examples are."""
    classes: tuple[str, ...] = ()
    """Use only these classes; all where empty."""
    labels_per_class: int | None = Field(None, ge=2)
    """Use at most this many examples a class to train and to validate with, together."""
    validation_fraction: float = Field(0.15, gt=0, lt=0.5)
    """Share of the rest to validate with, where the data has no such split."""
    test_fraction: float = Field(0.15, gt=0, lt=0.5)
    """Share of all examples to test with, where the data has no such split."""
    allow_new_labels: UnhashedBool = False
    """Accept a label set that differs from the last blessed model's."""


@stage(version=2)
def ingest(job: Job, source: Source, config: DataConfig) -> Examples:
    """Read, check, split and write the examples of `source`.

    An example's id is the sha256 of its content. Splits that the data does not have are carved
    out of the training examples, class by class, in the order of what the modality says makes
    two examples the same (exact content; of text, the words): duplicates land on one side, and
    more data tomorrow moves next to nobody from one side to the other. What cannot be used is
    quarantined with the reason, and never stops the run.
    """
    labels = chosen_labels(source, config)
    missing = {
        split: fraction
        for split, fraction in (
            ("test", config.test_fraction),
            ("validation", config.validation_fraction),
        )
        if not source.splits.get(split)
    }
    tfds.disable_progress_bar()

    def write() -> None:
        for left in job.directory.iterdir():  # Of a try that failed.
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        builder = dataset.Builder(
            graph=_Ingest(job.directory, source, config, labels, missing),
            modality=config.modality,
            labels=labels,
            data_dir=job.directory,
        )
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                beam_runner=job.beam.runner or beam_runner.LOCAL,
                beam_options=beam_runner.options(job.beam),
            )
        )

    try:
        beam_runner.again(job.beam, write)
    except ValueError as error:
        if "number of generated examples is 0" not in str(error):
            raise
        reasons = [f"{r['name']} {r['reason']}" for r in _quarantine(job.directory)]
        raise Mistake(
            f"data.path must give at least one usable example for each of {', '.join(SPLITS)}, "
            f"got {source.location!r}; {len(reasons)} quarantined"
            + (f", the first: {reasons[0]}" if reasons else "")
        ) from error
    index, quarantine = _index(job.directory), _quarantine(job.directory)
    write_jsonl(job.directory / "index.jsonl", index)
    write_jsonl(job.directory / "quarantine.jsonl", quarantine)
    for left in job.directory.glob("*-of-*"):
        left.unlink()
    counts = Counter(row["split"] for row in index)
    return Examples(
        directory=job.directory,
        modality=config.modality,
        labels=labels,
        counts={split: counts[split] for split in SPLITS},
        stats={
            **{split: counts[split] for split in SPLITS},
            "quarantined": len(quarantine),
            "quarantine": quarantine[:20],
        },
    )


def chosen_labels(source: Source, config: DataConfig) -> tuple[str, ...]:
    """The classes of `source` that are used, sorted; a `Mistake` if one is not there."""
    for label in config.classes:
        if label not in source.labels:
            raise Mistake(
                f"data.classes must be classes of {source.location!r}, got {label!r}: "
                f"{nearest(label, source.labels)}"
            )
    return tuple(sorted(set(config.classes))) or source.labels


class _Ingest:
    """The Beam graph: a pipeline → a PCollection of (key, example) for each split."""

    def __init__(
        self,
        directory: Path,
        source: Source,
        config: DataConfig,
        labels: tuple[str, ...],
        missing: dict[str, float],
    ) -> None:
        self._directory = directory
        self._source = source
        self._config = config
        self._labels = labels
        self._missing = missing

    def __call__(self, pipeline: Any) -> dict[str, Any]:
        modality = self._config.modality
        records = sources.records(self._source, pipeline) | "Choose classes" >> beam.Filter(
            _has_label, self._labels
        )
        checked = records | "Check" >> beam.FlatMap(_check, modality).with_outputs(
            "bad", main="good"
        )
        assigned = (
            checked.good
            | "Key by class" >> beam.Map(lambda row: (row["label"], (row["same"], row["split"])))
            | "Gather classes" >> beam.GroupByKey()
            | "Assign" >> beam.FlatMap(_assign, self._missing, self._config.labels_per_class)
        )
        placed = (
            {
                "rows": checked.good | "Key by same" >> beam.Map(lambda r: (r["same"], r)),
                "to": assigned,
            }
            | "Join" >> beam.CoGroupByKey()
            | "Place"
            >> beam.FlatMap(_place, MODALITIES[modality].recurs).with_outputs("bad", main="good")
        )
        rows, aside = placed.good, placed.bad
        index = rows | "Facts" >> beam.Map(_facts)
        lines = (index, checked.bad, aside) | "All lines" >> beam.Flatten()
        _ = (
            lines
            | "As text" >> beam.Map(json.dumps)
            | "Write lines" >> beam.io.WriteToText(str(self._directory / LINES))
        )
        return {
            split: rows
            | f"Only {split}" >> beam.Filter(lambda row, split=split: row["split"] == split)
            | f"As examples of {split}" >> beam.Map(_as_example, modality)
            for split in SPLITS
        }


def _has_label(record: Record, labels: tuple[str, ...]) -> bool:
    return record.label in labels


def _check(record: Record, modality: str) -> Iterator[Any]:
    """A usable record as a row, any other one as a line for the quarantine."""
    row = MODALITIES[modality]
    try:
        raw = Path(record.path).read_bytes() if record.raw is None else record.raw
        facts = row.check(raw)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        yield _quarantined(record.name, record.label, reason)
        return
    yield {
        "id": content_id(raw),
        "same": content_id(row.sameness(raw)),
        "name": record.name,
        "label": record.label,
        "split": record.split,
        "facts": facts,
        "raw": raw,
    }


def _assign(
    group: tuple[str, Iterable[tuple[str, str]]],
    missing: dict[str, float],
    labels_per_class: int | None,
) -> Iterator[tuple[str, tuple[str, str]]]:
    """One class: (sameness, given split) of its examples → (it, (given split, assigned split))."""
    _, members = group
    unique = sorted(set(members))
    pool = sorted({same for same, split in unique if split in ("", "train")})
    test = _share(len(pool), missing["test"]) if "test" in missing else 0
    labelled = len(pool) - test
    used = labelled if labels_per_class is None else min(labelled, labels_per_class)
    validation = _share(used, missing["validation"]) if "validation" in missing else 0
    assigned = ["test"] * test + ["validation"] * validation + ["train"] * (used - validation)
    assigned += ["unused"] * (labelled - used)
    carved = dict(zip(pool, assigned, strict=True))
    for same, split in unique:
        yield same, (split, carved[same] if split in ("", "train") else split)


def _share(size: int, fraction: float) -> int:
    """At least one where there are three or more, so that no class is without a test."""
    return max(round(size * fraction), min(1, size // 3))


def _place(group: tuple[str, dict[str, Any]], recurs: bool) -> Iterator[Any]:
    """Rows that are the same, each in its split; those of one given split always together.

    Args:
        recurs: see `Modality`; what is not in the last of the splits (test, before it validation)
            that the same is in goes to the quarantine.
    """
    _, members = group
    splits: dict[str, str] = {}
    for given, assigned in sorted(members["to"]):
        # Content with two labels is assigned once for each; all its rows follow one of them.
        splits.setdefault(given, assigned)
    used = {split for split in splits.values() if split != "unused"}
    last = max(used, key=SPLITS.index, default="")
    ordered = sorted(
        members["rows"], key=lambda row: (row["split"], row["name"], row["id"], row["label"])
    )
    for occurrence, row in enumerate(ordered):
        split = splits[row["split"]]
        if recurs and split in used and split != last:
            reason = f"is in {split}, and says the same as an example in {last}"
            yield _quarantined(row["name"], row["label"], reason)
        elif split in used:
            yield {**row, "split": split, "key": f"{row['id']}-{occurrence}"}


def _quarantined(name: str, label: str, reason: str) -> Any:
    return beam.pvalue.TaggedOutput("bad", {"name": name, "label": label, "reason": reason})


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "same", "key", "name", "label", "split", "facts")}


def _as_example(row: dict[str, Any], modality: str) -> tuple[str, dict[str, Any]]:
    example = {"id": row["id"], "name": row["name"], modality: row["raw"], "label": row["label"]}
    return row["key"], example


def _index(directory: Path) -> list[dict[str, Any]]:
    rows = (row for row in _lines(directory) if "reason" not in row)
    return sorted(rows, key=lambda row: (row["id"], row["name"]))


def _quarantine(directory: Path) -> list[dict[str, str]]:
    rows = (row for row in _lines(directory) if "reason" in row)
    return sorted(rows, key=lambda row: row["name"])


def _lines(directory: Path) -> Iterator[Any]:
    """What Beam has written: a row of the index, or of the quarantine, a line."""
    for shard in directory.glob(f"{LINES}-*-of-*"):
        yield from read_jsonl(shard)
