"""evaluate (TFX: Evaluator): the exported model, on the test split, through its signature."""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import Field

from components.artifacts import Evaluation, Examples, ExportedModel
from components.files import read_json, read_jsonl, sha256, write_json
from components.job import Job, stage
from components.judging import judged, likeness, predictions
from components.judging.comparing import place_of
from components.judging.worst import FILES as WORST
from components.judging.worst import Told, Worst
from components.modalities.table import MODALITIES
from components.section import Section
from components.served.manifest import MANIFEST, ServedModel, verify_manifest
from components.served.opening import Answered, Opened

with epy.lazy_imports():
    from components.examples import dataset
    from components.examples.dataset import Row


# Which model was asked about what: written last.
_ASKED = "asked.json"
_FILES = (_ASKED, *judged.FILES, *likeness.FILES, *WORST)
# So many earlier evaluations may be of the same model: every run asks the one that is served.
_LOOKED_AT = 6
# So many batches are sorted by size together, and no more than this many bytes.
WINDOW, WINDOW_BYTES = 64, 16 << 20


class EvaluateConfig(Section):
    """The test."""

    batch_size: int = Field(32, ge=1)
    """Examples a request."""


@stage(version=8)
def evaluate(
    job: Job, model: ExportedModel | ServedModel, examples: Examples, config: EvaluateConfig
) -> Evaluation:
    """Ask the model about every test example, as raw bytes, and let the tasks judge.

    What a model of before does not answer is left out. What the very same model has said of an
    example in an earlier evaluation is not asked again.
    """
    job.doing("reading the test examples")
    verify_manifest(model.path)
    asked = {
        "model": sha256(model.path / MANIFEST),
        "examples": sha256(examples.directory / "index.jsonl"),
        "targets": [target.model_dump(mode="json") for target in examples.targets],
    }
    earlier = _earlier(job, asked)
    if not (earlier and _taken_over(earlier, asked, job.directory)):
        rows = _rows_of(earlier, examples, model) if earlier else []
        before = {row["id"]: row for row in rows}
        _evaluate(job, model, examples, config.batch_size, before)
        write_json(job.directory / _ASKED, asked)
    return judged.read(
        job.directory,
        model=model if isinstance(model, ExportedModel) else None,
        targets=examples.targets,
        said_by=model.targets,
    )


def _earlier(job: Job, asked: dict[str, Any]) -> Path | None:
    """An evaluation of the same model, if it can be of the same examples."""
    found: Path | None = None
    for evaluation in itertools.islice(job.earlier(), _LOOKED_AT):
        with suppress(OSError, ValueError):  # It is removed meanwhile.
            before = read_json(evaluation.directory / _ASKED)
            if before == asked:
                return evaluation.directory
            if before["model"] == asked["model"]:
                found = found or evaluation.directory
    return found


def _taken_over(earlier: Path, asked: dict[str, Any], directory: Path) -> bool:
    """Copy an evaluation of the same model and the same examples, if that is what it is."""
    with suppress(OSError, ValueError):
        if read_json(earlier / _ASKED) == asked:
            for name in _FILES:
                shutil.copyfile(earlier / name, directory / name)
            return True
    return False


def _rows_of(
    earlier: Path, examples: Examples, model: ExportedModel | ServedModel
) -> list[predictions.Row]:
    """What the same model has said; nothing where it was asked something else."""
    with suppress(OSError, ValueError, KeyError):
        return predictions.read(earlier, examples.targets, model.targets)
    return []


def _evaluate(
    job: Job,
    model: ExportedModel | ServedModel,
    examples: Examples,
    batch_size: int,
    before: dict[str, dict[str, Any]],
) -> None:
    """Write all but what was asked.

    Args:
        before: the id of an example → what this model has said of it already.
    """
    places = [place_of(target, model.targets) for target in examples.targets]
    # A model of before may know other answers: its mistakes are not shown.
    same = [
        at if at is not None and model.targets[at].space.labels == target.space.labels else None
        for target, at in zip(examples.targets, places, strict=True)
    ]
    worst = Worst(examples.targets, same)
    rows: list[predictions.Row] = []

    def tell(told: list[Told]) -> None:
        rows.extend(row for row, _ in told)
        worst.add(told)

    _ask(job, model, examples, batch_size, before, tell)
    judged.write(job.directory, rows, examples.targets, model.targets, _known(examples))
    worst.write(job.directory)
    likeness.write(
        job.directory,
        rows,
        read_json(model.path / MANIFEST).get("likeness"),
        model.near if isinstance(model, ExportedModel) else (),
        functools.partial(_named, examples),
    )


def _named(examples: Examples, ids: set[str]) -> dict[str, Any]:
    """The rows of these examples."""
    if not ids:
        return {}
    index = read_jsonl(examples.directory / "index.jsonl")
    return {row["id"]: row for row in index if row["id"] in ids}


def _known(examples: Examples) -> judged.Known:
    """What ingest noted of the test examples."""
    index = read_jsonl(examples.directory / "index.jsonl")
    facts = {
        row["id"]: row["facts"] | dict(zip(examples.slices, row.get("cells", ()), strict=False))
        for row in index
        if row["split"] == "test"
    }
    return judged.Known(facts, (*MODALITIES[examples.modality].raw.slices, *examples.slices))


def _ask(
    job: Job,
    model: ExportedModel | ServedModel,
    examples: Examples,
    batch_size: int,
    before: dict[str, dict[str, Any]],
    tell: Callable[[list[Told]], None],
) -> None:
    """Ask about every example, and tell of them, some at a time."""

    answers = dataset.answers(examples, "test")

    def told(row: Row, answered: Answered) -> Told:
        known = {"id": row.id, "name": row.name, "answers": answers(row)}
        return known | answered._asdict(), row.raw

    def new() -> Iterator[Row]:
        for row in dataset.rows(examples, "test"):
            if found := before.get(row.id):
                tell([told(row, Answered(found["valid"], found["said"], found["likeness"]))])
            else:
                yield row

    opened: Opened | None = None
    count = -(-examples.counts["test"] // batch_size)
    batches = _batches(new(), batch_size)
    for batch in job.track(batches, count, "batches of test examples"):
        if opened is None:
            job.doing("loading the model")
            opened = Opened(model.path, examples.modality, model.targets)
        answered = opened.ask([row.raw for row in batch]).said()
        tell([told(row, each) for row, each in zip(batch, answered, strict=True)])


def _batches(rows: Iterator[Row], batch_size: int) -> Iterator[list[Row]]:
    """Those of about one size together: less of a request is padding."""
    window: list[Row] = []
    size = 0

    def batches() -> Iterator[list[Row]]:
        window.sort(key=lambda row: len(row.raw))
        for start in range(0, len(window), batch_size):
            yield window[start : start + batch_size]

    for row in rows:
        window.append(row)
        size += len(row.raw)
        full = len(window) == WINDOW * batch_size or size > WINDOW_BYTES
        if full and len(window) % batch_size == 0:
            yield from batches()
            window, size = [], 0
    yield from batches()
