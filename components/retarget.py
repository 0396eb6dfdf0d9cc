"""retarget: the giant as a trained model has it, for the classes of other examples."""

from __future__ import annotations

import shutil

from components.artifacts import OWN_HEAD, AssembledModel, Examples, TrainedModel
from components.job import Job, stage


@stage(version=1, plain=True)
def retarget(job: Job, trained: TrainedModel, examples: Examples) -> AssembledModel:
    """The same weights, fine-tuned ones where there are, for the targets of `examples`."""
    base = trained.base
    if (base.directory / "preset").is_dir():
        shutil.copytree(base.directory / "preset", job.directory / "preset")
    if base.own_head.is_file() and not trained.backbone_changed:
        shutil.copy2(base.own_head, job.directory / OWN_HEAD)
    model = base.model_copy(
        update={"directory": job.directory, "ref": "", "digest": "", "targets": examples.targets}
    )
    shutil.copy2(trained.backbone_weights, model.weights)
    return model
