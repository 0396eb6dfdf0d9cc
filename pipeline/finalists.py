"""Finalists: of several giants the two that advice names are trained, and the better is taken.

The best by what was published and the best by a sample, both tried, beat each alone
(arXiv:2010.06402).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.artifacts import Score
from components.training import paired
from pipeline import advising
from pipeline.config import Config
from pipeline.flow import Outside, Run, scored
from pipeline.outside import Request
from pipeline.studies import Study

# What is less is told as nothing.
_LEAST = 5e-5


def elect(study: Study) -> tuple[Config, str]:
    """The config with the giant that is to be taken, and why, in words.

    Both are trained up to what would be exported, and lose on the same examples to validate with.
    """
    told = advising.advice(study, (), advising.SAMPLE).told
    names = told["finalists"][: study.config.model.finalists]
    known = {giant["name"] for giant in told["giants"]}
    if len(names) == 1:
        why = f"Of {len(known)} giants at hand {names[0]} is the best by advice."
        return advising.with_giant(study.config, names[0]), why
    scores = {name: _score(study, name) for name in names}
    best, *others = sorted(names, key=lambda name: scores[name].loss)
    losses = {name: np.load(score.directory / "losses.npy") for name, score in scores.items()}
    apart = []
    for other in others:
        more, error = paired.better_by(losses[other], losses[best])
        noise = "" if more > max(error, _LEAST) else ", which is within noise"
        apart.append(f"{other} loses {more:.4f} ± {error:.4f} more{noise}")
    why = (
        f"Of {len(known)} giants at hand {len(names)} were trained, {' and '.join(names)}; on the "
        f"same examples to validate with {best} has the least loss, {scores[best].loss:.4f}: "
        f"{'; '.join(apart)}."
    )
    return advising.with_giant(study.config, best), why


def _score(study: Study, name: str) -> Score:
    config = advising.with_giant(study.config, name)

    def part(run: Run, _: Request, outside: Outside) -> Score:
        return scored(run.under(name), config, outside)

    return replace(study, config=config).execute(part)
