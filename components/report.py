"""report: one page for a person, with everything in it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import Artifact, ExportedModel, Report, SoFar, TrainedModel
from components.files import read_json, read_jsonl
from components.job import Job, stage
from components.modalities.table import MODALITIES
from components.pages.charts import line_chart
from components.served.opening import Opened
from components.tasks.protocol import Target
from components.tasks.table import figures_of, main_figures, task_of

with epy.lazy_imports():
    import jinja2

    from components.examples import dataset

# So many of the most confident mistakes are shown.
MISTAKES = 12


@stage(version=5)
def report(job: Job, so_far: SoFar) -> Report:
    """Write the page (verdict, did transferring help, curves, mistakes, lineage) and the card."""
    pages, tasks = (Path(__file__).parent / name for name in ("pages", "tasks"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([pages, tasks]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    checks, evaluation = so_far.checks, so_far.evaluation
    parts = [getattr(so_far, field.name) for field in dataclasses.fields(so_far)]
    page = environment.get_template("report.html.jinja").render(
        blessing=so_far.blessing,
        pushed=so_far.pushed,
        evaluation=evaluation,
        title=", ".join(_title(target) for target in evaluation.targets),
        figures=_figures(so_far),
        parts=_parts(so_far),
        model=so_far.tuned.base,
        tuned=so_far.tuned,
        features=so_far.features,
        checks=read_json(checks.directory / "checks.json"),
        quarantine=list(read_jsonl(checks.examples.directory / "quarantine.jsonl")),
        phases=[phase for phase in map(_phase, (so_far.head, so_far.tuned)) if phase],
        legend=MODALITIES[so_far.exported.modality].shown.legend,
        lineage=_lineage([part for part in parts if part]),
    )
    (job.directory / "report.html").write_text(page, encoding="utf-8")
    (job.directory / "model_card.md").write_text(_card(so_far), encoding="utf-8")
    return Report(directory=job.directory, evaluation=evaluation, blessing=so_far.blessing)


def _card(so_far: SoFar) -> str:
    """The card that travels with the model, and its figures, which came after it."""
    evaluation = so_far.evaluation
    card = (so_far.exported.path / "assets.extra" / "model_card.md").read_text(encoding="utf-8")
    known = figures_of(evaluation.targets)
    lines = [
        f"- {name}: {known[name].text(value)} ({known[name].meaning})"
        for name, value in evaluation.figures.items()
    ]
    verdict = "blessed" if so_far.blessing.blessed else "not blessed"
    figures = "\n".join(lines)
    reasons = "\n".join(f"- {reason}" for reason in so_far.blessing.reasons)
    return (
        f"{card}\n## Figures\n\nOn {evaluation.examples} test examples, through the signature that "
        f"is served:\n\n{figures}\n\n## Verdict: {verdict}\n\n{reasons}\n"
    )


def _title(target: Target) -> str:
    said = ", ".join(target.space.labels) or target.task.replace("_", " ")
    return f"{target.name}: {said}" if target.name else said


def _figures(so_far: SoFar) -> list[tuple[str, str]]:
    """(value, what it is) of the figures on top."""
    evaluation, found = so_far.evaluation, []
    mains = main_figures(evaluation.targets)
    for name, figure in mains.items():
        if name not in evaluation.figures:
            continue
        words = name.replace("_", " ")
        on = f"{words} on {evaluation.judged[name]} test examples"
        found.append((figure.text(evaluation.figures[name]), on))
        others = {
            "the same network from scratch": so_far.control,
            "the last blessed model": so_far.blessed,
        }
        for what, other in others.items():
            if other and name in other.figures:
                found.append((figure.text(other.figures[name]), what))
        found.append(
            (figure.text(evaluation.trivial[name]), f"always {evaluation.trivially[name]}")
        )
    for name, figure in figures_of(evaluation.targets).items():
        if name in evaluation.figures and name not in mains:
            found.append((figure.text(evaluation.figures[name]), name.replace("_", " ")))
    return found


def _parts(so_far: SoFar) -> list[dict[str, Any]]:
    """What each target's own part of the page is made of."""
    evaluation = so_far.evaluation
    metrics = read_json(evaluation.directory / "metrics.json")
    counts = read_json(so_far.checks.directory / "checks.json")["counts"]
    shown = _mistakes(so_far)
    return [
        {
            "template": task_of(target).template,
            "title": target.name,
            "labels": target.space.labels,
            "details": metrics["targets"][target.name],
            "counts": counts[target.name],
            "mistakes": shown[number],
        }
        for number, target in enumerate(evaluation.targets)
        if target.name in metrics["targets"]
    ]


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


def _mistakes(so_far: SoFar) -> list[list[dict[str, Any]]]:
    """For each target: the test examples that the model was most wrong about."""
    rows = list(read_jsonl(so_far.evaluation.directory / "predictions.jsonl"))
    examples, opened = so_far.checks.examples, _opener(so_far.exported)
    found, wanted = [], set()
    for number, target in enumerate(so_far.evaluation.targets):
        told = [row for row in rows if row["answers"][number] is not None]
        worst = task_of(target).mistakes(
            [row["answers"][number] for row in told],
            [row["said"][number] for row in told],
            target.space,
        )[:MISTAKES]
        of_one = [(told[position], *words) for position, *words in worst]
        wanted |= {row["id"] for row, *_ in of_one}
        found.append(of_one)
    raws = {}
    if wanted:
        for example in dataset.read(examples, "test").as_numpy_iterator():
            if (identity := example["id"].decode()) in wanted:
                raws[identity] = example[examples.modality]
    show = MODALITIES[examples.modality].shown.show
    return [
        [
            {
                "name": row["name"],
                "truth": truth,
                "said": said,
                "how": how,
                "shown": show(raws[row["id"]], functools.partial(_evidence, opened, number)),
            }
            for row, truth, said, how in of_one
        ]
        for number, of_one in enumerate(found)
    ]


def _opener(exported: ExportedModel) -> Callable[[], Opened]:
    """The model is loaded when it is first asked."""
    return functools.cache(lambda: Opened(exported.path, exported.modality, exported.targets))


def _evidence(opened: Callable[[], Opened], number: int, raws: list[bytes]) -> np.ndarray:
    """(examples,), how much each speaks for the answer to a target that the first one gets."""
    model = opened()
    return task_of(model.targets[number]).evidence(model.ask(raws).of_each[number])


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
