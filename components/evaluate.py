"""evaluate (TFX: Evaluator): the exported model, on the test split, through its signature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etils import epy
from pydantic import Field

from components.artifacts import Evaluation, Examples, ExportedModel
from components.files import write_json, write_jsonl
from components.job import Job, stage
from components.section import Section
from components.served.manifest import ServedModel, verify_manifest
from components.served.opening import Opened
from components.tasks.table import task_of

with epy.lazy_imports():
    from components.examples import dataset


# So many batches are sorted by size together, and no more than this many bytes.
WINDOW, WINDOW_BYTES = 64, 16 << 20


class EvaluateConfig(Section):
    """The test."""

    batch_size: int = Field(32, ge=1)
    """Examples a request."""


@stage(version=3)
def evaluate(
    job: Job, model: ExportedModel | ServedModel, examples: Examples, config: EvaluateConfig
) -> Evaluation:
    """Ask the model about every test example, as raw bytes, and let the tasks judge.

    What a model of before does not answer is left out.
    """
    job.doing("loading the model")
    verify_manifest(model.path)
    predictions = list(_predict(job, model, examples, config.batch_size))
    known = {(t.name, t.task): position for position, t in enumerate(model.targets)}
    figures: dict[str, float] = {}
    trivial: dict[str, float] = {}
    trivially: dict[str, str] = {}
    judged: dict[str, int] = {}
    details: dict[str, Any] = {}
    for number, target in enumerate(examples.targets):
        at = known.get((target.name, target.task))
        told = [row for row in predictions if row["answers"][number] is not None]
        if at is None or not told:
            continue
        answers, said = [row["answers"][number] for row in told], [row["said"][at] for row in told]
        scores = task_of(target).score(answers, said, model.targets[at].space, target.space)
        main = target.named(task_of(target).figures[0].name)
        figures |= {target.named(name): value for name, value in scores.figures.items()}
        trivial[main], trivially[main] = scores.trivial, scores.trivially
        judged[main] = len(told)
        details[target.name] = scores.details
    invalid = sum(not row["valid"] for row in predictions)
    figured = {"figures": figures, "trivial": trivial, "trivially": trivially, "judged": judged}
    write_json(job.directory / "metrics.json", figured | {"targets": details})
    write_jsonl(job.directory / "predictions.jsonl", predictions)
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


def _predict(
    job: Job, model: ExportedModel | ServedModel, examples: Examples, batch_size: int
) -> Iterator[dict[str, Any]]:
    opened = Opened(model.path, examples.modality, model.targets)
    count = -(-examples.counts["test"] // batch_size)
    for batch in job.track(_batches(examples, batch_size), count, "batches of test examples"):
        answered = opened.ask([row[examples.modality] for row in batch]).said()
        for row, (valid, said) in zip(batch, answered, strict=True):
            yield {
                "id": row["id"].decode(),
                "name": row["name"].decode(),
                "valid": valid,
                "answers": dataset.answers(row, examples.targets),
                "said": said,
            }


def _batches(examples: Examples, batch_size: int) -> Iterator[list[dict[str, Any]]]:
    """The test examples, those of about one size together: less of a request is padding."""
    window: list[dict[str, Any]] = []
    size = 0

    def batches() -> Iterator[list[dict[str, Any]]]:
        window.sort(key=lambda row: len(row[examples.modality]))
        for start in range(0, len(window), batch_size):
            yield window[start : start + batch_size]

    for row in dataset.read(examples, "test").as_numpy_iterator():
        window.append(row)
        size += len(row[examples.modality])
        full = len(window) == WINDOW * batch_size or size > WINDOW_BYTES
        if full and len(window) % batch_size == 0:
            yield from batches()
            window, size = [], 0
    yield from batches()
