"""The model card: what a model says, for what it is meant, and, once it was judged, how good it is.

After Mitchell et al. 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import Checks, Examples, SoFar, TrainedModel
from components.modalities.table import MODALITIES
from components.tasks.protocol import Target
from components.tasks.table import figures_of, task_of

with epy.lazy_imports():
    import jinja2


def card(
    model: TrainedModel, targets: tuple[Target, ...], examples: Examples, files: list[str]
) -> str:
    """The card that travels with the model, whose test figures come after it.

    Args:
        files: those with the labels, by what they are called among the assets.
    """
    return _render(model, targets, examples, files=files, warnings=())


def card_with_figures(so_far: SoFar, checks: Checks, files: list[str], **facts: Any) -> str:
    """The same with all that came later.

    Args:
        facts: `about`, `date` and `version`.
    """
    exported, evaluation = so_far.exported, so_far.evaluation
    return _render(
        so_far.tuned,
        exported.targets,
        checks.examples,
        files=files,
        warnings=checks.warnings,
        evaluation=evaluation,
        blessed=so_far.rivals.blessed,
        control=so_far.rivals.control,
        blessing=so_far.blessing,
        figures=figures_of(evaluation.targets),
        **facts,
    )


def label_files(targets: tuple[Target, ...]) -> list[str]:
    """What the files of all targets are called among the assets."""
    return [
        asset(target, name) for target in targets for name in task_of(target).files(target.space)
    ]


def asset(target: Target, name: str) -> str:
    """What a file of a target's is called among the assets."""
    return f"{target.name}.{name}" if target.name else name


def _render(
    model: TrainedModel, targets: tuple[Target, ...], examples: Examples, **more: Any
) -> str:
    environment = jinja2.Environment(  # noqa: S701 (it is Markdown)
        loader=jinja2.FileSystemLoader(Path(__file__).parent), keep_trailing_newline=True
    )
    environment.filters["said"] = lambda target: task_of(target).card(target.space)
    environment.filters["plain"] = _plain
    modality = MODALITIES[examples.modality]
    return environment.get_template("model_card.md.jinja").render(
        model=model,
        targets=targets,
        examples=examples,
        plural=modality.raw.plural,
        contract=modality.giants.contract(model.base),
        **more,
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
