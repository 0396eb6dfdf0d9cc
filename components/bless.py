"""bless (TFX: Evaluator's verdict): is the model good enough to be served?"""

from __future__ import annotations

from pydantic import Field

from components.artifacts import Blessing, Evaluation
from components.job import Job, stage
from components.section import Section


class BlessConfig(Section):
    """What a model must reach on the test examples."""

    min_accuracy: float = Field(0.0, ge=0, le=1)
    """The least accuracy."""
    min_recall: float = Field(0.0, ge=0, le=1)
    """The least recall of every class."""
    max_drop: float = Field(0.01, ge=0, le=1)
    """How much less accurate than the last blessed model it may be, on the same examples."""
    beat_majority: bool = True
    """It must be better than always answering the most frequent class."""
    beat_control: bool = True
    """It must be better than the control, where there is one."""
    force: str = ""
    """Bless it whatever it reaches, for this reason, which is recorded."""


@stage(version=1, plain=True)
def bless(
    job: Job,
    candidate: Evaluation,
    blessed: Evaluation | None,
    control: Evaluation | None,
    config: BlessConfig,
) -> Blessing:
    """Weigh the candidate against thresholds, the last blessed model and the control.

    A first run has no blessed model to be compared with, and says so. Every reason is a
    sentence; those that spoke against the candidate come first.
    """
    against: list[str] = []
    speaking_for: list[str] = []
    for holds, sentence in _judgements(candidate, blessed, control, config):
        (speaking_for if holds else against).append(sentence)
    verdict = not against or bool(config.force)
    reasons = against + speaking_for
    if config.force:
        reasons.insert(0, f"Blessing was forced: {config.force}.")
    (job.directory / ("BLESSED" if verdict else "NOT_BLESSED")).touch()
    return Blessing(
        directory=job.directory,
        blessed=verdict,
        reasons=tuple(reasons),
        stats={"blessed": verdict, "forced": bool(config.force)},
    )


def _judgements(
    candidate: Evaluation,
    blessed: Evaluation | None,
    control: Evaluation | None,
    config: BlessConfig,
) -> list[tuple[bool, str]]:
    """(does it speak for the candidate?, a sentence) for everything that is asked of it."""
    accuracy = candidate.accuracy
    said = [
        (
            accuracy >= config.min_accuracy,
            f"Accuracy is {accuracy:.3f} on {candidate.examples} test examples; "
            f"{config.min_accuracy or 'no least value'} is asked for.",
        )
    ]
    if config.beat_majority:
        holds = accuracy > candidate.majority
        said.append(
            (
                holds,
                f"It is {'more' if holds else 'no more'} accurate than always answering the most "
                f"frequent class ({candidate.majority:.3f}).",
            )
        )
    worst = min(candidate.recall, key=lambda label: candidate.recall[label])
    if config.min_recall:
        said.append(
            (
                candidate.recall[worst] >= config.min_recall,
                f"The least recall is {candidate.recall[worst]:.3f}, of {worst}, where "
                f"{config.min_recall:.3f} is asked for.",
            )
        )
    if candidate.invalid:
        said.append((False, f"It cannot decode {candidate.invalid} of the test examples."))
    if blessed is None:
        said.append((True, "There is no blessed model yet to compare it with."))
    else:
        holds = accuracy >= blessed.accuracy - config.max_drop
        said.append(
            (
                holds,
                f"The last blessed model has accuracy {blessed.accuracy:.3f} on the same examples; "
                f"the change is {accuracy - blessed.accuracy:+.3f}, where a drop of "
                f"{config.max_drop:.3f} is allowed.",
            )
        )
    if control is not None and config.beat_control:
        holds = accuracy > control.accuracy
        said.append(
            (
                holds,
                f"The same network trained from scratch on the same labels has accuracy "
                f"{control.accuracy:.3f}: transferring {'helped' if holds else 'did not help'} "
                f"({accuracy - control.accuracy:+.3f}).",
            )
        )
    return said
