"""advise: which giant, how much of it, in which way; by what giants are worth for a sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import Advice, Appraisal
from components.files import read_jsonl, write_json
from components.job import Job, stage
from components.judging import ladder, ranking
from components.judging.ladder import Data, Rung
from components.judging.ranking import Candidate
from components.pages.advice import page


@dataclass(frozen=True)
class Asked:
    """A giant, as it is asked for.

    Attributes:
        name: `BACKBONE`, or `BACKBONE=WEIGHTS`.
        backbone: the value of `model.backbone`, and …
        weights: … of `model.weights`.
    """

    name: str
    backbone: str
    weights: str


@stage(version=2, plain=True)
def advise(
    job: Job, appraisals: dict[str, Appraisal], asked: tuple[Asked, ...], left_out: dict[str, str]
) -> Advice:
    """Rank the giants, choose two finalists and a way, and say why.

    Args:
        appraisals: by the names of those `asked` for.
        left_out: the names of giants that cannot be had → why.
    """
    found = ranking.candidates(appraisals)
    order, finalists = ranking.by_proxy(found), ranking.finalists(found)
    chosen = ranking.chosen(found)
    features = appraisals[chosen.name].features
    index = read_jsonl(features.examples.directory / "index.jsonl")
    answers = [row["answers"][0] for row in index if row["split"] in ("train", "validation")]
    data = Data.of(answers)
    rungs = ladder.rungs(chosen, data)
    told = {
        "figure": next(iter(chosen.facts["figures"]["knn"])),
        "examples": len(chosen.proxy),
        "of": data.examples,
        "giants": [_giant(each, found, order) for each in order],
        "left_out": left_out,
        "finalists": [each.name for each in finalists],
        "chosen": chosen.name,
        "why": _why(chosen, finalists, order, ranking.by_prior(found)),
        "rungs": [rung.as_json() for rung in rungs],
    }
    write_json(job.directory / "advice.json", told)
    (job.directory / "advice.html").write_text(
        page(told, [Path(__file__).parent / "pages"]), encoding="utf-8"
    )
    settings = _settings(next(a for a in asked if a.name == chosen.name), rungs)
    return Advice(
        directory=job.directory, settings=settings, stats={"finalists": told["finalists"]}
    )


def _giant(candidate: Candidate, found: list[Candidate], order: list[Candidate]) -> dict[str, Any]:
    """What is told of one."""
    facts = candidate.facts
    prior = ranking.by_prior(found)
    best = min(found, key=lambda each: each.error("knn"))
    scores = {}
    for way in candidate.errors:
        low, high = candidate.interval(way)
        scores[way] = {"error": candidate.error(way), "low": low, "high": high}
        scores[way] |= {"figures": facts["figures"][way]}
    kept = ("pretrained", "knows", "weights", "published", "milliseconds", "bytes")
    return {
        "name": candidate.name,
        **{name: facts[name] for name in (*kept, "domain", "own_head", "logme")},
        "scores": scores,
        "indistinguishable": not ranking.is_worse(candidate, best),
        "by_proxy": order.index(candidate) + 1,
        "by_prior": prior.index(candidate) + 1,
    }


def _why(
    chosen: Candidate, finalists: list[Candidate], order: list[Candidate], prior: list[Candidate]
) -> list[str]:
    """Why it is that giant, a sentence each."""
    said = []
    alike = [each.name for each in order if not ranking.is_worse(each, order[0])]
    if len(alike) > 1:
        said.append(f"By their neighbours {', '.join(alike)} are indistinguishable.")
    else:
        said.append(f"By its neighbours {alike[0]} tells the examples apart best, beyond noise.")
    others = [each for each in finalists if each is not chosen]
    for other in others:
        low, high = other.apart(other.best_way, chosen, chosen.best_way)
        beyond = "beyond noise"
        if low <= 0:
            beyond = "within noise, and what was to be expected decides"
        said.append(
            f"The error of a linear head on {chosen.name} is {chosen.error(chosen.best_way):.3f}, "
            f"on {other.name} {other.error(other.best_way):.3f}: {low:+.3f} to {high:+.3f} more, "
            f"{beyond}."
        )
    if prior[0].facts["knows"]:
        by = prior[0].facts["published"]
        what = f"was published with {by:.3f} on ImageNet" if by else "is the largest"
        said.append(
            f"Before anything was looked at, {prior[0].name} was to be expected: it {what}."
        )
    return said


def _settings(asked: Asked, rungs: list[Rung]) -> dict[str, Any]:
    """What a recipe departs to."""
    settings: dict[str, Any] = {"model.backbone": asked.backbone}
    if asked.weights != "pretrained":
        settings["model.weights"] = asked.weights
    return settings
