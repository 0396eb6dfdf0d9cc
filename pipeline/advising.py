"""Advice: which giant, how much of it; a part of the flow, for each giant that is asked for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from components.advise import Asked, advise
from components.appraise import appraise
from components.artifacts import Advice, Appraisal
from components.assemble import assemble
from components.extract import extract
from components.modalities.giants import Giant, Pretrained
from components.modalities.table import MODALITIES
from components.section import Views
from models.mistakes import Mistake
from pipeline.config import Config
from pipeline.flow import Outside, Run, checked, pretrain
from pipeline.outside import Request, giant_of, pretrained_of
from pipeline.showing import as_recipe, departures
from pipeline.studies import Study

# So many examples tell giants apart.
SAMPLE = 640


@dataclass(frozen=True)
class Found:
    """A giant that can be had."""

    asked: Asked
    giant: Giant
    pretrained: Pretrained | None


def advice(study: Study, names: Sequence[str], sample: int) -> Advice:
    """Appraise giants on a sample of the examples, and say which to take.

    Args:
        names: `BACKBONE` or `BACKBONE=WEIGHTS`; those whose weights are here where there are none.
        sample: so many examples.

    Raises:
        Mistake: there is no giant to be had.
    """
    with contextlib.redirect_stdout(sys.stderr):  # Keras and hubs tell of downloads there.
        found, left_out = _find(study, giants_of(study.config, names))
    # The recipe's own giant need not be there; a source task is, where one of them is to have it.
    base = next((each for each in found if each.pretrained is None), found[0])
    study = replace(study, config=_with(study.config, base.asked))

    def part(run: Run, _: Request, outside: Outside) -> Advice:
        return advised(run, study.config, outside, found, left_out, sample)

    return study.execute(part, builds=True)


def advised(
    run: Run,
    config: Config,
    outside: Outside,
    found: Sequence[Found],
    left_out: dict[str, str],
    sample: int,
) -> Advice:
    """From raw examples to advice."""
    examples, checks = checked(run, config, outside)
    appraisals: dict[str, Appraisal] = {}
    lost = dict(left_out)
    for each in found:
        own = _with(config, each.asked)
        branch = run.under(each.asked.name)
        try:
            pretrained = each.pretrained or pretrain(
                branch.under(f"{each.asked.name}.pretrain"),
                own,
                replace(outside, giant=each.giant),
            )
            model = branch(
                assemble, checks, each.giant, pretrained, own.model, own.own, seed=config.seed
            )
            features = branch(
                extract,
                model,
                examples,
                0,
                Views(),
                config.extract,
                vectors="taps",
                seed=config.seed,
                most=sample,
            )
            appraisals[each.asked.name] = branch(appraise, features, config.learning)
        except Mistake as mistake:
            lost[each.asked.name] = str(mistake)
    if not appraisals:
        raise _none(lost)
    return run(advise, appraisals, tuple(each.asked for each in found), lost)


def recipe(study: Study, advice: Advice) -> str:
    """What to run, as TOML, with the reasons as comments."""
    told = advice.told
    reasons = [f"Advised by {told['examples']} of {told['of']} examples.", *told["why"]]
    reasons += [f"{rung['name']}: {rung['verdict']}. {rung['why']}" for rung in told["rungs"]]
    for other in told["finalists"]:
        if other != told["chosen"]:
            reasons.append(f"The other finalist: {other}. Try it as well.")
    decided = ("head", "fine_tune")  # By the advice, and not by the recipe.
    known = departures(study.config)
    given = {key: v for key, v in known.items() if key.partition(".")[0] not in decided}
    return as_recipe(given | advice.settings, reasons)


def giants_of(config: Config, names: Sequence[str] = ()) -> list[Asked]:
    """What is asked for; the giant of the config is always among those at hand."""
    here = names or [
        config.model.backbone,
        *MODALITIES[config.data.modality].giants.at_hand(),
    ]
    found = []
    for name in dict.fromkeys(here):
        backbone, _, weights = name.partition("=")
        if not backbone:
            raise Mistake(f"--giants must be BACKBONE or BACKBONE=WEIGHTS, got {name!r}")
        given = config.model.weights if backbone == config.model.backbone else "pretrained"
        found.append(Asked(name, backbone, weights or given))
    return found


def _find(study: Study, asked: Sequence[Asked]) -> tuple[list[Found], dict[str, str]]:
    """Those that can be had, and why the others cannot."""
    found, lost = [], {}
    for each in asked:
        config = _with(study.config, each)
        try:
            giant = giant_of(config, download=True)
            pretrained = None
            if each.weights != "pretrain":
                pretrained = pretrained_of(config, giant, download=True)
            found.append(Found(each, giant, pretrained))
        except Mistake as mistake:
            lost[each.name] = str(mistake)
    if not found:
        raise _none(lost)
    return found, lost


def _none(lost: dict[str, str]) -> Mistake:
    name, why = next(iter(lost.items()))
    return Mistake(f"--giants must be within reach, got none of {', '.join(lost)}: {name}: {why}")


def with_giant(config: Config, name: str) -> Config:
    """The config with one of `giants_of` instead of its own."""
    [asked] = giants_of(config, [name])
    return _with(config, asked)


def _with(config: Config, asked: Asked) -> Config:
    model = config.model.model_copy(update={"backbone": asked.backbone, "weights": asked.weights})
    return config.model_copy(update={"model": model})
