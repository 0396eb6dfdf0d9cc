"""report: one page for a person, with everything in it."""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import (
    PROPOSALS,
    ExportedModel,
    Report,
    SoFar,
)
from components.files import read_json, read_jsonl, write_json
from components.job import Job, stage
from components.judging import forgetting, likeness, proposing, worst
from components.modalities.table import MODALITIES
from components.pages import cards, curves, evidence, figures, training, verdict
from components.pages.lineage import lineage
from components.pages.templates import environment
from components.section import Digested
from components.served.opening import Opened
from components.tasks.protocol import Target
from components.tasks.table import task_of
from models.version import described

# So many labels are named in the title.
_TITLED = 6


@dataclass(frozen=True)
class About(Digested):
    """The run that a report is of; known by what was asked for, so that it is written once.

    Attributes:
        recipe: its name.
        run_id: of the run that wrote the report.
        differs: each key of the config whose value is not the default → the value.
        digest: over the recipe, `elected`, and what of `differs` is not where and how.
        elected: why it is this giant, where there were several; in words.
    """

    recipe: str
    run_id: str
    differs: dict[str, Any]
    digest: str
    elected: str = ""


@stage(version=13)
def report(job: Job, so_far: SoFar, about: About) -> Report:
    """Write the page (verdict, did transferring help, curves, mistakes, lineage) and the card."""
    checks, evaluation = so_far.checks, so_far.evaluation
    proposals = proposing.propose(so_far)
    write_json(job.directory / PROPOSALS, [proposal._asdict() for proposal in proposals])
    date = time.strftime("%Y-%m-%d %H:%M %Z")
    folders = (Path(__file__).parent / name for name in ("pages", "tasks"))
    page = (
        environment(*folders)
        .get_template("report.html.jinja")
        .render(
            about=about,
            facts=_facts(about, date),
            blessing=so_far.blessing,
            words=verdict.in_words(so_far),
            pushed=so_far.pushed,
            proposals=proposals,
            evaluation=evaluation,
            title=", ".join(_title(target) for target in evaluation.targets),
            comparisons=figures.comparisons(so_far),
            figures=figures.figures(so_far),
            left_out=figures.left_out(so_far),
            parts=_parts(so_far),
            model=so_far.tuned.base,
            tuned=so_far.tuned,
            features=so_far.features,
            checks=read_json(checks.directory / "checks.json"),
            quarantine=list(read_jsonl(checks.examples.directory / "quarantine.jsonl")),
            suspects=evidence.suspects(so_far.suspects),
            curves=curves.learning_curves(so_far.suspects),
            shots=curves.shots(so_far.head),
            choice=evidence.choice(so_far.head),
            ladder=evidence.ladder(so_far.tuned),
            forgetting=evidence.forgetting(forgetting.read(so_far.tuned.directory)),
            trained=training.sections(so_far),
            map=evidence.map_of(so_far.exported, checks.examples),
            likeness=likeness.read(evaluation.directory),
            legend=MODALITIES[so_far.exported.modality].shown.legend,
            lineage=lineage(so_far),
        )
    )
    (job.directory / "report.html").write_text(page, encoding="utf-8")
    files = cards.label_files(so_far.exported.targets)
    card = cards.card_with_figures(
        so_far, checks, files, about=about, date=date, version=described()
    )
    (job.directory / "model_card.md").write_text(card, encoding="utf-8")
    return Report(directory=job.directory, evaluation=evaluation, blessing=so_far.blessing)


def _facts(about: About, date: str) -> dict[str, str]:
    """What the head of the page says of the run."""
    return {
        "recipe": about.recipe,
        "run": about.run_id,
        "date": date,
        "code": f"Shoulders {described()}",
        "with": f"TensorFlow {version('tensorflow')}, Keras {version('keras')}",
        "on": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _title(target: Target) -> str:
    labels = target.space.labels
    more = f" … ({len(labels)} labels)" if len(labels) > _TITLED else ""
    said = ", ".join(labels[:_TITLED]) + more or target.task.replace("_", " ")
    return f"{target.name}: {said}" if target.name else said


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
            "main": task_of(target).figures[0],
            "counts": counts[target.name],
            "number": number,
            "mistakes": shown[number],
        }
        for number, target in enumerate(evaluation.targets)
        if target.name in metrics["targets"]
    ]


def _mistakes(so_far: SoFar) -> list[list[dict[str, Any]]]:
    """For each target: the test examples that the model was most wrong about."""
    evaluation, opened = so_far.evaluation, _opener(so_far.exported)
    shown = MODALITIES[so_far.exported.modality].shown
    found = []
    for number, of_one in enumerate(worst.read(evaluation.directory, evaluation.targets)):
        ask = functools.partial(_evidence, opened, number)
        found.append(
            [
                row | {"shown": shown.show(raw, ask if place < shown.explained else None)}
                for place, (row, raw) in enumerate(of_one)
            ]
        )
    return found


def _opener(exported: ExportedModel) -> Callable[[], Opened]:
    """The model is loaded when it is first asked."""
    return functools.cache(lambda: Opened(exported.path, exported.modality, exported.targets))


def _evidence(opened: Callable[[], Opened], number: int, raws: list[bytes]) -> np.ndarray:
    """(examples,), how much each speaks for the answer to a target that the first one gets."""
    return opened().evidence(number, raws)
