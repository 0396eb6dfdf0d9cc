"""bless (TFX: Evaluator's verdict): is the model good enough to be served?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from components.artifacts import Blessing, Evaluation, Rivals
from components.files import read_json
from components.job import Job, stage
from components.judging import forgetting, likeness, thresholds
from components.judging.comparing import compare
from components.judging.judged import METRICS
from components.modalities.table import MODALITIES
from components.section import Columns, Section
from components.tasks.figures import CONFIDENCE, Comparison
from components.tasks.protocol import Figure, Target
from components.tasks.table import main_figures
from models import novelty


class BlessConfig(Section):
    """What a model must reach on the test examples."""

    at_least: Columns = ()
    """Figures that must not be less, such as accuracy=0.9 or species/accuracy=0.9."""
    at_most: Columns = ()
    """Figures that must not be more, such as mae=2.5."""
    slices: Columns = ()
    """What every part of a slice must reach in a main figure, such as "brightness: accuracy>=0.8";
    the report lists the slices and their parts."""
    max_drop: float = Field(0.01, ge=0, le=1)
    """How much worse than the last blessed model its main figures may be, on the same examples: a
    difference of shares; of figures in another unit, a share of them. What can be chance is
    forgiven; see `confidence`."""
    beat_control: bool = True
    """It must not be worse, beyond chance, than the best that is trained from scratch on the same
    labels, nor than a line through what is known without looking, where there is a control."""
    min_transfer_gain: float | None = Field(None, ge=0)
    """How much better than those it must surely be in its main figures: 0 for any gain beyond
    chance; a difference of shares, and of figures in another unit a share of them."""
    confidence: float = Field(CONFIDENCE, ge=0, lt=1)
    """Of the intervals by which it is compared with another model; 0 to take the figures as they
    are, chance or not."""
    least_alike: float = Field(0.0, ge=0, le=1)
    """How alike (CKA, arXiv:1905.00414) the features of every fine-tuned block must be to those of
    before, so that what the giant knew is not forgotten; 0 for any."""
    least_agreement: float = Field(0.0, ge=0, le=1)
    """How often the head that the giant was trained with must say the same as before fine-tuning,
    where there is one; 0 for any."""
    beat_trivial: bool = True
    """It must be better than always giving the same answer: the most frequent class, the mean."""
    force: str = ""
    """Bless it whatever it reaches, for this reason, which is recorded."""


def check(config: BlessConfig, targets: Sequence[Target], slices: Sequence[str]) -> None:
    """A `Mistake` where a threshold is on what is no figure of these targets, or no slice."""
    thresholds.check_figures("at_least", config.at_least, targets)
    thresholds.check_figures("at_most", config.at_most, targets)
    thresholds.check_parts(config.slices, targets, slices)


@stage(version=4, plain=True)
def bless(job: Job, candidate: Evaluation, rivals: Rivals, config: BlessConfig) -> Blessing:
    """Weigh the candidate against thresholds, the last blessed model and the control.

    What is compared is compared on the same examples, with an interval; what can be chance is told
    as that. A first run has no blessed model to be compared with, and says so. Every reason is a
    sentence; those that spoke against the candidate come first.
    """
    compared = {
        name: {found.name: found for found in compare(candidate, rival, config.confidence)}
        for name, rival in rivals.named().items()
    }
    against: list[str] = []
    speaking_for: list[str] = []
    for holds, sentence in _judgements(candidate, rivals, compared, config):
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
        comparisons=tuple(
            one.model_copy(update={"rival": rival})
            for rival, found in compared.items()
            for one in found.values()
        ),
        stats={"blessed": verdict, "forced": bool(config.force)},
    )


# What the candidate was compared with → its figures there, by their names.
_Compared = Mapping[str, Mapping[str, Comparison]]


def _judgements(
    candidate: Evaluation, rivals: Rivals, compared: _Compared, config: BlessConfig
) -> Iterator[tuple[bool, str]]:
    """(does it speak for the candidate?, a sentence) for everything that is asked of it."""
    yield from _thresholds(candidate, config)
    yield from _in_parts(candidate, config)
    yield from _forgotten(candidate, config)
    yield from _near(candidate)
    if candidate.invalid:
        yield False, f"It cannot decode {candidate.invalid} of the test examples."
    if rivals.blessed is None:
        yield True, "There is no blessed model yet to compare it with."
    for name, figure in main_figures(candidate.targets).items():
        if name not in candidate.figures:
            yield False, f"No test example has an answer to judge {name} by."
            continue
        yield True, f"Its {_words(name)} is {_of(candidate, name, figure)}."
        if config.beat_trivial:
            yield _against_trivial(name, figure, candidate)
        if rivals.blessed is not None:
            yield _against_blessed(name, figure, compared["blessed"].get(name), config)
        if rivals.control is not None:
            yield from _against_control(name, figure, candidate, rivals, compared, config)


def _of(candidate: Evaluation, name: str, figure: Figure) -> str:
    """A figure and its interval, in words."""
    value, (low, high) = candidate.figures[name], candidate.intervals[name]
    return (
        f"{figure.plainly(value)} on {candidate.judged[name]} test examples "
        f"({100 * CONFIDENCE:g} % interval {figure.plainly(low)} to {figure.plainly(high)})"
    )


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


def _in_parts(candidate: Evaluation, config: BlessConfig) -> Iterator[tuple[bool, str]]:
    if not config.slices:
        return
    details = read_json(candidate.directory / METRICS)["targets"]
    mains = main_figures(candidate.targets)
    for asked in thresholds.parts(config.slices):
        figure, word = mains[asked.figure], "least" if asked.at_least else "most"
        parts = details.get(asked.figure.rpartition("/")[0], {}).get("slices", [])
        own = [row for row in parts if row["slice"] == asked.slice.replace("_", " ")]
        if not own:
            yield False, f"No part of {asked.slice} has enough test examples to be judged."
        for row in own:
            value = row["value"]
            yield (
                value >= asked.asked if asked.at_least else value <= asked.asked,
                f"Where {row['slice']} is {row['part']}, its {_words(asked.figure)} is "
                f"{figure.plainly(value)} ({figure.plainly(row['low'])} to "
                f"{figure.plainly(row['high'])}, {row['count']} examples), where at {word} "
                f"{asked.asked:g} is asked for.",
            )


def _near(candidate: Evaluation) -> Iterator[tuple[bool, str]]:
    found = likeness.read(candidate.directory)
    count = found["near"]["test"] if found else 0
    chance = novelty.BY_CHANCE * candidate.examples
    if count > chance + 2 * chance**0.5:
        yield (
            True,
            f"Of {candidate.examples} test examples, {count} {'is' if count == 1 else 'are'} "
            f"nearly the same as one to train or validate with, which flatters its figures: see "
            f"{likeness.NEAR}.",
        )


def _forgotten(candidate: Evaluation, config: BlessConfig) -> Iterator[tuple[bool, str]]:
    """What fine-tuning left of what the giant knew; nothing where it has the weights of before."""
    trained = candidate.model.trained if candidate.model else None
    if trained is None or not trained.backbone_changed:
        return
    alike, agreement = forgetting.left(trained.directory)
    for known, asked, what in (
        (alike, config.least_alike, "The features of its fine-tuned blocks are like those before"),
        (agreement, config.least_agreement, "The giant's own head says the same as before"),
    ):
        if known is None and asked:
            yield False, f"{what}: that is not known, where at least {asked:g} is asked for."
        elif known is not None:
            wanted = f", where at least {asked:g} is asked for" if asked else ""
            much = " Much of what it knew is forgotten." if known < forgetting.HALF else ""
            yield known >= asked, f"{what} by {known:.3f}{wanted}.{much}"


def _against_trivial(name: str, figure: Figure, candidate: Evaluation) -> tuple[bool, str]:
    value, trivial = candidate.figures[name], candidate.trivial[name]
    low, high = candidate.intervals[name]
    holds = figure.gain(value - trivial, trivial) > 0
    doubt = ", which may be chance" if holds and low <= trivial <= high else ""
    return (
        holds,
        f"In {_words(name)} it is {'better' if holds else 'no better'} than always answering "
        f"{candidate.trivially[name]} ({figure.plainly(trivial)}){doubt}.",
    )


def _against_blessed(
    name: str, figure: Figure, found: Comparison | None, config: BlessConfig
) -> tuple[bool, str]:
    """It is refused where it is worse than is allowed, and that is no chance."""
    if found is None:
        return True, f"The last blessed model has no {_words(name)} to compare it with."
    share = figure.unit == "share"
    allowed = f"{config.max_drop:.3f}" if share else f"{100 * config.max_drop:g} %"
    dropped = figure.gain(found.change, found.other) < -config.max_drop
    sure = found.verdict(figure) == "worse" or not config.confidence
    forgiven = ", and this may be chance" if dropped and not sure else ""
    return (
        not (dropped and sure),
        f"The last blessed model has {_words(name)} {figure.plainly(found.other)} on the same "
        f"examples; the change is {_change(found, figure)}, where being worse by {allowed} is "
        f"allowed{forgiven}.",
    )


_TRANSFERRING = {
    "better": "transferring helped",
    "worse": "transferring hurt",
    "the same": "transferring made no difference to speak of",
    "cannot tell": "it cannot be told whether transferring helped",
}


def _against_control(
    name: str,
    figure: Figure,
    candidate: Evaluation,
    rivals: Rivals,
    compared: _Compared,
    config: BlessConfig,
) -> Iterator[tuple[bool, str]]:
    """Against the stronger of what was trained from scratch and what needs no looking."""
    names = [rival for rival in ("control", "shortcut") if name in compared.get(rival, {})]
    if not names:
        return
    strongest = max(names, key=lambda r: figure.gain(compared[r][name].other, 1.0))
    found = compared[strongest][name]
    verdict, (least, _), asked = found.verdict(figure), found.gain(figure), config.min_transfer_gain
    holds = not (verdict == "worse" and config.beat_control)
    holds = holds and (asked is None or least >= asked)
    wanted = "" if asked is None else f"; a gain of surely {asked:g} is asked for"
    more = found.telling() if verdict == "cannot tell" else None
    tell = f"; some {_round(more)} test examples might tell" if more else ""
    yield (
        holds,
        f"{_title(strongest, candidate, rivals)} has {_words(name)} "
        f"{figure.plainly(found.other)}: {_TRANSFERRING[verdict]}, by {_change(found, figure)}"
        f"{tell}{wanted}.",
    )
    if "shortcut" in names:
        yield from _in_the_files(name, figure, compared["shortcut"][name], candidate)


def _title(rival: str, candidate: Evaluation, rivals: Rivals) -> str:
    """What the strongest rival is, to begin a sentence with."""
    trained = rivals.control.model.trained if rivals.control and rivals.control.model else None
    if rival == "shortcut" or trained is None:
        return f"A line through {_measures(candidate)}"
    how = f" ({trained.cut_short})" if trained.cut_short else ""
    title = trained.title or "the same network"
    return f"From scratch on the same labels, {title}{how}"


def _in_the_files(
    name: str, figure: Figure, found: Comparison, candidate: Evaluation
) -> Iterator[tuple[bool, str]]:
    """Whether what can be said without looking is half of what the candidate is better by."""
    trivial = candidate.trivial[name]
    theirs, ours = (figure.gain(x - trivial, trivial) for x in (found.other, found.value))
    if theirs > 0.5 * ours > 0:
        yield (
            True,
            f"Much of the answer is in {_measures(candidate)}, which alone give {_words(name)} "
            f"{figure.plainly(found.other)}: look whether that is meant.",
        )


def _measures(candidate: Evaluation) -> str:
    modality = candidate.model.modality if candidate.model else ""
    return MODALITIES[modality].raw.measures if modality else "what is known without looking"


def _change(found: Comparison, figure: Figure) -> str:
    """Signed, with its interval."""
    digits = ".3f" if figure.unit == "share" else ".4g"
    change, low, high = (f"{x:+{digits}}" for x in (found.change, found.low, found.high))
    return f"{change} ({low} to {high})"


def _round(count: int) -> str:
    """Two digits of it: nobody knows more."""
    return f"{int(float(f'{count:.1e}')):,}"


def _words(name: str) -> str:
    return name.replace("_", " ")
