"""climb: which of several ways to use the giant is taken, from cheap to dear, and why."""

from __future__ import annotations

import shutil
from typing import Any

from components.artifacts import HELD_OUT, TrainedModel
from components.files import write_json
from components.job import Job, stage

# What there is of weights that were fine-tuned.
_TOLD = ("backbone.weights.h5", "history.json", "audit.json", "forgetting.json")


@stage(version=1, plain=True)
def climb(job: Job, head: TrainedModel, rungs: dict[str, TrainedModel]) -> TrainedModel:
    """Take the last rung that was better than the one before, beyond noise on the same examples.

    Args:
        head: on the frozen giant, fitted to all there is.
        rungs: by their names, each of which begins with the one before, and the first with such a
            head that has not seen what they are compared on.
    """
    taken = [model for model in rungs.values() if model.backbone_changed]
    kept = taken[-1] if taken else head
    for name in ("head.weights.h5", HELD_OUT, *(_TOLD if taken else ())):
        if (kept.directory / name).exists():
            shutil.copy2(kept.directory / name, job.directory)
    told = [_frozen(head), *(_rung(name, model) for name, model in rungs.items())]
    settled = next((model.settled for model in rungs.values() if model.settled), "")
    why = settled or "There is nothing dearer."
    write_json(job.directory / "ladder.json", {"rungs": told, "why": why})
    return TrainedModel(
        directory=job.directory,
        features=kept.features,
        before=kept,
        phase="climb",
        form=kept.form,
        kept=kept.kept,
        backbone_changed=bool(taken),
        stats={
            "taken": next((n for n, m in reversed(rungs.items()) if m in taken), "a frozen giant"),
            "why": why,
        },
    )


def _frozen(head: TrainedModel) -> dict[str, Any]:
    """The rung that costs least."""
    return {
        "name": "a frozen giant",
        "said": f"{head.kept[:1].upper()}{head.kept[1:]}.",
        "fell": None,
        "error": None,
        "took": None,
        "taken": True,
    }


def _rung(name: str, model: TrainedModel) -> dict[str, Any]:
    """What became of one that was to be trained."""
    return {
        "name": name,
        "said": model.kept if model.backbone_changed else model.settled,
        "fell": model.stats.get("fell"),
        "error": model.stats.get("fell_error"),
        "took": model.stats.get("took"),
        "taken": model.backbone_changed,
    }
