"""report: one page for a person, with everything in it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import (
    Artifact,
    Blessing,
    Checks,
    Evaluation,
    ExportedModel,
    Features,
    PushedModel,
    Report,
    TrainedModel,
)
from components.files import read_json, read_jsonl
from components.job import Job, stage
from components.modalities.table import MODALITIES
from components.pages.charts import line_chart
from components.served.opening import open_model

with epy.lazy_imports():
    import jinja2
    import tensorflow as tf

    from components.examples import dataset

# So many of the most confident mistakes are shown.
MISTAKES = 12


@stage(version=4)
def report(
    job: Job,
    checks: Checks,
    features: Features,
    head: TrainedModel,
    tuned: TrainedModel,
    exported: ExportedModel,
    evaluation: Evaluation,
    blessed: Evaluation | None,
    control: Evaluation | None,
    blessing: Blessing,
    pushed: PushedModel,
) -> Report:
    """Write `report.html`: the verdict, did transferring help, curves, mistakes, lineage."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    parts = (checks, features, head, tuned, exported, evaluation, blessing, pushed)
    page = environment.get_template("report.html.jinja").render(
        blessing=blessing,
        pushed=pushed,
        evaluation=evaluation,
        metrics=read_json(evaluation.directory / "metrics.json"),
        blessed=blessed,
        control=control,
        model=tuned.base,
        tuned=tuned,
        features=features,
        checks=read_json(checks.directory / "checks.json"),
        quarantine=list(read_jsonl(checks.examples.directory / "quarantine.jsonl")),
        phases=[phase for phase in map(_phase, (head, tuned)) if phase],
        legend=MODALITIES[exported.modality].legend,
        mistakes=_mistakes(checks, exported, evaluation),
        lineage=_lineage([*parts, *(part for part in (blessed, control) if part)]),
    )
    (job.directory / "report.html").write_text(page, encoding="utf-8")
    return Report(directory=job.directory, evaluation=evaluation, blessing=blessing)


def _phase(model: TrainedModel) -> dict[str, Any] | None:
    """The curves of one phase, or None if nothing was trained in it."""
    path = model.directory / "history.json"
    if not path.exists():
        return None
    history = read_json(path)
    epochs, best = history["epochs"], history["best_epoch"]
    curves = {
        "training": [row["loss"] for row in epochs],
        "validation": [row["val_loss"] for row in epochs],
    }
    return {
        "name": model.phase,
        "kept": model.kept,
        "audit": _audit(read_json(model.directory / "audit.json")),
        "chart": line_chart(curves, mark=best, x="epoch", y="loss"),
    }


def _audit(audit: dict[str, Any]) -> str:
    """What moved in a phase and what did not, as a sentence."""
    moved, frozen = audit["moved"], audit["frozen"]
    most = f", the most by {max(moved.values()):.2g}" if moved else ""
    return f"{len(moved)} weights moved{most}; {len(frozen)} frozen ones are bit-identical"


def _mistakes(
    checks: Checks, exported: ExportedModel, evaluation: Evaluation
) -> list[dict[str, Any]]:
    """The test examples that the model was most sure of and wrong about."""
    rows = [
        row
        for row in read_jsonl(evaluation.directory / "predictions.jsonl")
        if row["predicted"] != row["label"]
    ]
    worst = sorted(rows, key=lambda row: -max(row["probabilities"]))[:MISTAKES]
    wanted = {row["id"] for row in worst}
    examples = checks.examples
    show, ask = MODALITIES[examples.modality].show, _asker(exported)
    shown = {}
    if wanted:
        for example in dataset.read(examples, "test").as_numpy_iterator():
            if (identity := example["id"].decode()) in wanted:
                shown[identity] = show(example[examples.modality], ask)
    return [
        row | {"confidence": max(row["probabilities"]), "shown": shown[row["id"]]} for row in worst
    ]


def _asker(exported: ExportedModel) -> Callable[[list[bytes]], np.ndarray]:
    """Raw examples → probabilities, (examples, classes); the model is loaded when first asked."""
    signature = functools.cache(lambda: open_model(exported.path, exported.modality))

    def ask(raws: list[bytes]) -> np.ndarray:
        answer: np.ndarray = signature()(raw=tf.constant(raws))["probabilities"].numpy()
        return answer

    return ask


def _lineage(artifacts: list[Artifact]) -> list[dict[str, Any]]:
    """Every artifact the result is made of, each once, the earliest first."""
    found: dict[str, dict[str, Any]] = {}

    def visit(artifact: Artifact) -> None:
        for name in type(artifact).model_fields:
            if isinstance(inner := getattr(artifact, name), Artifact):
                visit(inner)
        if artifact.ref and artifact.ref not in found:
            manifest = read_json(artifact.directory / "artifact.json")
            found[artifact.ref] = {
                "stage": manifest["stage"],
                "ref": artifact.ref,
                "seconds": manifest["seconds"],
                "created": manifest["created"],
                "bytes": sum(file["size"] for file in manifest["files"].values()),
            }

    for artifact in artifacts:
        visit(artifact)
    return sorted(found.values(), key=lambda row: row["created"])
