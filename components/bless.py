"""bless (TFX: Evaluator's verdict): is the model good enough to be served?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from components.artifacts import Blessing, Evaluation
from components.job import Job, stage
from components.section import Columns, Section
from components.tasks.protocol import Figure, Target
from components.tasks.table import figures_of, main_figures
from models.mistakes import Mistake, nearest


class BlessConfig(Section):
    """What a model must reach on the test examples."""

    at_least: Columns = ()
    """Figures that must not be less, such as accuracy=0.9 or species/accuracy=0.9."""
    at_most: Columns = ()
    """Figures that must not be more, such as mae=2.5."""
    max_drop: float = Field(0.01, ge=0, le=1)
    """How much worse than the last blessed model its main figures may be, on the same examples: a
    difference of shares; of figures in another unit, a share of them."""
    beat_trivial: bool = True
    """It must be better than always giving the same answer: the most frequent class, the mean."""
    beat_control: bool = True
    """It must be better than the control, where there is one."""
    force: str = ""
    """Bless it whatever it reaches, for this reason, which is recorded."""


def check(config: BlessConfig, targets: Sequence[Target]) -> None:
    """A `Mistake` where a threshold is on what is no figure of these targets."""
    known = figures_of(targets)
    for field, entries in (("at_least", config.at_least), ("at_most", config.at_most)):
        for entry in entries:
            name, _, value = entry.partition("=")
            if name not in known:
                raise Mistake(
                    f"bless.{field} must name a figure of the task, got {entry!r}: "
                    f"{nearest(name, known)}"
                )
            try:
                asked = float(value)
            except ValueError as error:
                raise Mistake(
                    f"bless.{field} must be FIGURE=VALUE, with a number, got {entry!r}"
                ) from error
            if known[name].unit == "share" and not 0 <= asked <= 1:
                raise Mistake(f"bless.{field} must be from 0 to 1 for {name}, got {value}")


@stage(version=2, plain=True)
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
) -> Iterator[tuple[bool, str]]:
    """(does it speak for the candidate?, a sentence) for everything that is asked of it."""
    yield from _thresholds(candidate, config)
    if candidate.invalid:
        yield False, f"It cannot decode {candidate.invalid} of the test examples."
    if blessed is None:
        yield True, "There is no blessed model yet to compare it with."
    for name, figure in main_figures(candidate.targets).items():
        value = candidate.figures.get(name)
        if value is None:
            yield False, f"No test example has an answer to judge {name} by."
            continue
        yield True, f"Its {_words(name)} is {value:.3f} on {candidate.judged[name]} test examples."
        if config.beat_trivial:
            yield _against_trivial(name, figure, value, candidate)
        if blessed is not None:
            yield _against_blessed(name, figure, value, blessed, config.max_drop)
        if control is not None and config.beat_control and name in control.figures:
            yield _against_control(name, figure, value, control)


def _thresholds(candidate: Evaluation, config: BlessConfig) -> Iterator[tuple[bool, str]]:
    for word, entries in (("least", config.at_least), ("most", config.at_most)):
        for entry in entries:
            name, _, text = entry.partition("=")
            value, asked = candidate.figures.get(name), float(text)
            if value is None:
                yield False, f"There is no {_words(name)}, where at {word} {asked:g} is asked for."
                continue
            holds = value >= asked if word == "least" else value <= asked
            yield (
                holds,
                f"Its {_words(name)} is {value:.3f}, where at {word} {asked:g} is asked for.",
            )


def _against_trivial(
    name: str, figure: Figure, value: float, candidate: Evaluation
) -> tuple[bool, str]:
    trivial = candidate.trivial[name]
    holds = figure.worse_by(value, trivial) < 0
    return (
        holds,
        f"In {_words(name)} it is {'better' if holds else 'no better'} than always answering "
        f"{candidate.trivially[name]} ({trivial:.3f}).",
    )


def _against_blessed(
    name: str, figure: Figure, value: float, blessed: Evaluation, max_drop: float
) -> tuple[bool, str]:
    if name not in blessed.figures:
        return True, f"The last blessed model has no {_words(name)} to compare it with."
    before = blessed.figures[name]
    allowed = f"{max_drop:.3f}" if figure.unit == "share" else f"{100 * max_drop:g} %"
    return (
        figure.worse_by(value, before) <= max_drop,
        f"The last blessed model has {_words(name)} {before:.3f} on the same examples; the change "
        f"is {value - before:+.3f}, where being worse by {allowed} is allowed.",
    )


def _against_control(
    name: str, figure: Figure, value: float, control: Evaluation
) -> tuple[bool, str]:
    reached = control.figures[name]
    holds = figure.worse_by(value, reached) < 0
    trained = control.model.trained if control.model else None
    how = f" ({trained.cut_short})" if trained and trained.cut_short else ""
    return (
        holds,
        f"The same network trained from scratch on the same labels{how} has {_words(name)} "
        f"{reached:.3f}: transferring {'helped' if holds else 'did not help'} "
        f"({value - reached:+.3f}).",
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
