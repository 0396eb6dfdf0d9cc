"""evaluate (TFX: Evaluator): the exported model, on the test split, through its signature."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from etils import epy
from pydantic import Field

from components.artifacts import Evaluation, Examples, ExportedModel
from components.files import read_json, read_jsonl, sha256, write_json, write_jsonl
from components.job import Job, stage
from components.judging.worst import Told, Worst
from components.section import Section
from components.served.manifest import MANIFEST, ServedModel, verify_manifest
from components.served.opening import Opened
from components.tasks.protocol import Said
from components.tasks.table import task_of

with epy.lazy_imports():
    from components.examples import dataset


# The digest of the manifest of the model that was asked.
_ASKED = "asked.json"
# So many earlier evaluations may be of the same model: every run asks the one that is served.
_LOOKED_AT = 6
# So many batches are sorted by size together, and no more than this many bytes.
WINDOW, WINDOW_BYTES = 64, 16 << 20


class EvaluateConfig(Section):
    """The test."""

    batch_size: int = Field(32, ge=1)
    """Examples a request."""


@stage(version=5)
def evaluate(
    job: Job, model: ExportedModel | ServedModel, examples: Examples, config: EvaluateConfig
) -> Evaluation:
    """Ask the model about every test example, as raw bytes, and let the tasks judge.

    What a model of before does not answer is left out. What the very same model has said of an
    example in an earlier evaluation is not asked again.
    """
    job.doing("reading the test examples")
    verify_manifest(model.path)
    manifest = sha256(model.path / MANIFEST)
    before = _said_before(job, manifest)
    known = {(t.name, t.task): position for position, t in enumerate(model.targets)}
    worst = Worst(examples.targets)
    predictions: list[dict[str, Any]] = []

    def tell(told: list[Told]) -> None:
        predictions.extend(row for row, _ in told)
        for number, target in enumerate(examples.targets):
            if (at := known.get((target.name, target.task))) is not None:
                worst.add(number, at, told)

    _ask(job, model, examples, config.batch_size, before, tell)
    # In an order that does not depend on what was asked together.
    predictions.sort(key=lambda row: (row["id"], row["name"]))
    figures: dict[str, float] = {}
    trivial: dict[str, float] = {}
    trivially: dict[str, str] = {}
    judged: dict[str, int] = {}
    details: dict[str, Any] = {}
    for number, target in enumerate(examples.targets):
        at = known.get((target.name, target.task))
        judged_on = [row for row in predictions if row["answers"][number] is not None]
        if at is None or not judged_on:
            continue
        answers = [row["answers"][number] for row in judged_on]
        said = [row["said"][at] for row in judged_on]
        scores = task_of(target).score(answers, said, model.targets[at].space, target.space)
        main = target.named(task_of(target).figures[0].name)
        figures |= {target.named(name): value for name, value in scores.figures.items()}
        trivial[main], trivially[main] = scores.trivial, scores.trivially
        judged[main] = len(judged_on)
        details[target.name] = scores.details
    invalid = sum(not row["valid"] for row in predictions)
    figured = {"figures": figures, "trivial": trivial, "trivially": trivially, "judged": judged}
    write_json(job.directory / "metrics.json", figured | {"targets": details})
    write_jsonl(job.directory / "predictions.jsonl", predictions)
    write_json(job.directory / _ASKED, manifest)
    worst.write(job.directory)
    return Evaluation(
        directory=job.directory,
        model=model if isinstance(model, ExportedModel) else None,
        targets=examples.targets,
        examples=len(predictions),
        figures=figures,
        trivial=trivial,
        trivially=trivially,
        judged=judged,
        invalid=invalid,
        stats={**figures, "examples": len(predictions), "invalid": invalid},
    )


def _said_before(job: Job, manifest: str) -> dict[str, dict[str, Any]]:
    """The id of each example that this model was last asked about → its row of predictions."""
    for earlier in itertools.islice(job.earlier(), _LOOKED_AT):
        with suppress(OSError, ValueError):  # It is removed meanwhile.
            if read_json(earlier.directory / _ASKED) == manifest:
                rows = read_jsonl(earlier.directory / "predictions.jsonl")
                return {row["id"]: row for row in rows}
    return {}


def _ask(
    job: Job,
    model: ExportedModel | ServedModel,
    examples: Examples,
    batch_size: int,
    before: dict[str, dict[str, Any]],
    tell: Callable[[list[Told]], None],
) -> None:
    """Ask about every example, and tell of them, some at a time.

    Args:
        before: by `_said_before`.
    """

    def new() -> Iterator[dict[str, Any]]:
        for row in dataset.read(examples, "test").as_numpy_iterator():
            if found := before.get(row["id"].decode()):
                tell([_told(row, examples, found["valid"], found["said"])])
            else:
                yield row

    opened: Opened | None = None
    count = -(-examples.counts["test"] // batch_size)
    batches = _batches(new(), examples.modality, batch_size)
    for batch in job.track(batches, count, "batches of test examples"):
        if opened is None:
            job.doing("loading the model")
            opened = Opened(model.path, examples.modality, model.targets)
        answered = opened.ask([row[examples.modality] for row in batch]).said()
        both = zip(batch, answered, strict=True)
        tell([_told(row, examples, valid, said) for row, (valid, said) in both])


def _told(row: dict[str, Any], examples: Examples, valid: bool, said: list[Said]) -> Told:
    predicted = {
        "id": row["id"].decode(),
        "name": row["name"].decode(),
        "valid": valid,
        "answers": dataset.answers(row, examples.targets),
        "said": said,
    }
    return predicted, row[examples.modality]


def _batches(
    rows: Iterator[dict[str, Any]], modality: str, batch_size: int
) -> Iterator[list[dict[str, Any]]]:
    """Those of about one size together: less of a request is padding."""
    window: list[dict[str, Any]] = []
    size = 0

    def batches() -> Iterator[list[dict[str, Any]]]:
        window.sort(key=lambda row: len(row[modality]))
        for start in range(0, len(window), batch_size):
            yield window[start : start + batch_size]

    for row in rows:
        window.append(row)
        size += len(row[modality])
        full = len(window) == WINDOW * batch_size or size > WINDOW_BYTES
        if full and len(window) % batch_size == 0:
            yield from batches()
            window, size = [], 0
    yield from batches()
