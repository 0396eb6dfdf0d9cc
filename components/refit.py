"""refit: the chosen configuration, trained on all there is but the test; judged out of fold."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
from pydantic import Field

from components.artifacts import HELD_OUT, Score, TrainedModel
from components.files import read_jsonl, write_jsonl
from components.job import Job, stage
from components.judging.forgetting import FILE
from components.section import Section

# What there is of weights that were fine-tuned.
_TUNED = ("backbone.weights.h5", "history.json", "audit.json", FILE)


class FinalConfig(Section):
    """The last training, once everything is chosen."""

    refit: bool = False
    """Train what was found, for the epochs that were found, on the examples to validate with as
    well; what is said of it then comes from cross-validation. A head that is fitted exactly to a
    frozen giant has them anyway."""
    folds: int = Field(4, ge=2, le=20)
    """Of that cross-validation: so many trainings more."""


@stage(version=2, plain=True)
def refit(
    job: Job, found: TrainedModel, whole: TrainedModel, folds: tuple[Score, ...]
) -> TrainedModel:
    """The model that has seen all, with what models like it say of what they had not seen.

    What is settled on examples that a model has not seen, such as temperatures, is settled on that.

    Args:
        found: the model whose settings and epochs these are.
        whole: trained like it on all examples.
        folds: how each that left a fold out does on that.
    """
    held = [row for fold in folds for row in read_jsonl(fold.directory / HELD_OUT)]
    write_jsonl(job.directory / HELD_OUT, held)
    last = whole
    while not last.backbone_changed and last.before:  # It was taken no further than this.
        last = last.before
    for name in ("head.weights.h5", *(_TUNED if last.backbone_changed else ())):
        if (last.directory / name).exists():
            shutil.copy2(last.directory / name, job.directory)
    return TrainedModel(
        directory=job.directory,
        features=found.features,
        before=last,
        phase="refit",
        form=last.form,
        kept=f"{last.kept}, trained anew on {whole.features.counts['train']} examples, those to "
        f"validate with among them; its figures come from {len(folds)} folds",
        backbone_changed=last.backbone_changed,
        stats=_figures(folds),
    )


def _figures(folds: tuple[Score, ...]) -> dict[str, Any]:
    """The mean over all examples of what is watched, as cross-validation has it."""
    names = [name for name in folds[0].stats if name.startswith("val_")]
    sizes = [len(np.load(fold.directory / "losses.npy")) for fold in folds]
    told = {"cv_loss": [fold.loss for fold in folds]}
    told |= {f"cv_{n.removeprefix('val_')}": [fold.stats[n] for fold in folds] for n in names}
    return {name: float(np.average(values, weights=sizes)) for name, values in told.items()}
