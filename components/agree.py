"""agree: whether a model with another class may be served: it must not lose the old ones."""

from __future__ import annotations

from components.artifacts import Blessing, Evaluation
from components.files import read_json
from components.job import Job, stage
from components.judging.judged import METRICS
from components.tasks.figures import CONFIDENCE
from models import intervals

# Of the held-out examples of a new class: so many must be known.
_LEAST = 0.5


@stage(version=1, plain=True)
def agree(
    job: Job, blessings: tuple[Blessing, ...], evaluation: Evaluation, label: str
) -> Blessing:
    """Blessed where all of them are, and the held-out examples of a new class are known.

    Args:
        evaluation: on all classes.
        label: of the new class; empty where there is none.
    """
    verdict = all(each.blessed for each in blessings)
    reasons = [reason for each in blessings for reason in each.reasons]
    if label:
        classes = read_json(evaluation.directory / METRICS)["targets"][""]["classes"]
        count, recall = classes[label]["support"], classes[label]["recall"]
        known = recall >= _LEAST
        verdict = verdict and known
        right = round(recall * count)
        low, high = intervals.of_share(right, count, CONFIDENCE)
        reasons.insert(
            0,
            f"Of {count} new examples of {label} it knows {right} ({100 * CONFIDENCE:.0f} % "
            f"interval {low:.2f} to {high:.2f} of them).",
        )
    (job.directory / ("BLESSED" if verdict else "NOT_BLESSED")).touch()
    return Blessing(
        directory=job.directory,
        blessed=verdict,
        reasons=tuple(dict.fromkeys(reasons)),
        comparisons=tuple(one for each in blessings for one in each.comparisons),
        stats={"blessed": verdict},
    )
