"""evaluate (TFX: Evaluator): the exported model, on the test split, through its signature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epy
from pydantic import Field

from components.artifacts import Evaluation, Examples, ExportedModel
from components.files import write_json, write_jsonl
from components.job import Job, stage
from components.section import Section
from components.served.manifest import ServedModel, verify_manifest
from components.served.opening import open_model

with epy.lazy_imports():
    import tensorflow as tf
    from sklearn import metrics

    from components.examples import dataset


# So many batches are sorted by size together, and no more than this many bytes.
WINDOW, WINDOW_BYTES = 64, 16 << 20


class EvaluateConfig(Section):
    """The test."""

    batch_size: int = Field(32, ge=1)
    """Examples a request."""


@stage(version=2)
def evaluate(
    job: Job, model: ExportedModel | ServedModel, examples: Examples, config: EvaluateConfig
) -> Evaluation:
    """Ask the model about every test example, as raw bytes, and count.

    Classes that the model does not know have probability 0; what it calls invalid is wrong.
    """
    verify_manifest(model.path)
    predictions = list(_predict(job, model, examples, config.batch_size))
    known = list(examples.labels)
    truth = [row["label"] for row in predictions]
    answers = [row["predicted"] for row in predictions]
    columns = [model.labels.index(label) if label in model.labels else None for label in known]
    probabilities = np.array(
        [[0.0 if c is None else row["probabilities"][c] for c in columns] for row in predictions]
    )
    # Rows that sum to 0 (invalid, or all on unknown classes) become uniform.
    probabilities += 1e-7
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, answers, labels=known, zero_division=0
    )
    accuracy = float(metrics.accuracy_score(truth, answers))
    loss = float(metrics.log_loss(truth, probabilities, labels=known))
    invalid = sum(not row["valid"] for row in predictions)
    columns_of_confusion = [*known, *sorted({a for a in answers if a not in known})]
    confusion = metrics.confusion_matrix(truth, answers, labels=columns_of_confusion)
    figures = {
        "accuracy": accuracy,
        "log_loss": loss,
        "majority": float(np.max(support) / len(truth)),
        "examples": len(truth),
        "invalid": invalid,
        "classes": {
            label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for label, p, r, f, s in zip(known, precision, recall, f1, support, strict=True)
        },
        "confusion": {"labels": columns_of_confusion, "counts": confusion.tolist()},
    }
    write_json(job.directory / "metrics.json", figures)
    write_jsonl(job.directory / "predictions.jsonl", predictions)
    return Evaluation(
        directory=job.directory,
        model=model if isinstance(model, ExportedModel) else None,
        labels=examples.labels,
        examples=len(truth),
        accuracy=accuracy,
        log_loss=loss,
        majority=figures["majority"],
        recall={label: float(r) for label, r in zip(known, recall, strict=True)},
        invalid=invalid,
        stats={"accuracy": accuracy, "log_loss": loss, "examples": len(truth), "invalid": invalid},
    )


def _predict(
    job: Job, model: ExportedModel | ServedModel, examples: Examples, batch_size: int
) -> Any:
    serve = open_model(model.path, examples.modality)
    count = -(-examples.counts["test"] // batch_size)
    for batch in job.track(_batches(examples, batch_size), count, "evaluate"):
        answer = serve(raw=tf.constant([row[examples.modality] for row in batch]))
        for number, row in enumerate(batch):
            yield {
                "id": row["id"].decode(),
                "name": row["name"].decode(),
                "label": examples.labels[row["label"]],
                "predicted": answer["labels"][number].numpy().decode(),
                "valid": bool(answer["valid"][number]),
                "probabilities": [float(p) for p in answer["probabilities"][number].numpy()],
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
