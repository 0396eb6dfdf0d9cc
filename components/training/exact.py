"""A linear head on stored taps, fitted exactly, and which taps it is to read.

Everything is decided by cross-validation on examples to train and to validate with, on what the
store has: it costs seconds. What is decided is told with its evidence, in `choice.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from components.artifacts import HELD_OUT, Features, HeadForm, TrainedModel
from components.disk import save_weights
from components.files import read_json, write_json, write_jsonl
from components.frozen.batches import Inputs, columns_of, inputs_of
from components.job import Job
from components.tasks.learning import Learning
from components.training import choosing
from components.training import soup as soups
from components.training.choosing import Candidate
from components.training.heads import new_head, set_linear
from models import linear
from models.designs import Scale
from models.linear import Fit
from models.mistakes import Mistake

# Rows of features that are read at once.
_CHUNK = 1024
_CHOICE = "choice.json"


def fit_head(
    job: Job,
    features: Features,
    learning: Learning,
    *,
    may_be_last: bool,
    soup: bool,
    clean: bool,
    seed: int,
    like: TrainedModel | None = None,
) -> TrainedModel:
    """Choose taps, fit a head for every target, and write it as a Keras model.

    What the tasks decide on examples that the head has not seen, such as thresholds, they decide
    on what the heads of cross-validation said, which is kept. So nothing but fine-tuning needs
    validation examples, and without it the head is fitted to them, too.

    Args:
        may_be_last: whether it may be the last layer alone, where that is better beyond noise.
        clean: whether the examples to validate with are left alone, and the network whole.
        soup: whether it may be an average of heads on several of the taps that were tried.
        like: a head with whose taps it is to be fitted; then those examples are not even asked.
    """
    targets = features.model.targets
    both = inputs_of(job, features, "taps")
    if len(features.taps) == 1 and not may_be_last:
        raise Mistake(
            f"head.features must be last or auto for {features.model.backbone}, which has no block "
            f"to tap below its last one, got taps"
        )
    job.doing("choosing the taps")
    chooser = choosing.Chooser.of(features, learning, both[:1] if like else both)
    parts: soups.Parts
    with linear.one_thread():
        if like:
            known = read_json(like.directory / _CHOICE)["parts"]
            parts = [(chooser.try_out(taps), share) for taps, share in known]
            tried, why = [own for own, _ in parts], "they were chosen before"
        else:
            best, tried, why = choosing.choose(
                chooser, may_be_last=may_be_last, may_be_cut=not clean
            )
            parts = soups.of_taps(chooser, best, tried) if soup else [(best, 1.0)]
            why += soups.in_words(chooser, parts)
    chosen = soups.mixed(chooser, parts)
    job.doing("fitting the head")
    fitted = [_fit(features, learning, both, own, clean=clean) for own, _ in parts]
    rows = fitted[0][1]
    fits = soups.average(chooser, parts, [fit for fit, _ in fitted])
    form = HeadForm(normalize=False, taps=chosen.taps, balance=learning.by_uncertainty)
    head = new_head(targets, form, features=chosen.width, seed=seed)
    set_linear(head, targets, fits)
    save_weights(head, job.directory / "head.weights.h5")
    write_jsonl(job.directory / HELD_OUT, choosing.held_out(chooser, chosen))
    figures, named = choosing.figures_of(chooser, chosen), choosing.named(chosen, features)
    write_json(
        job.directory / _CHOICE,
        {
            "why": why,
            "tried": [choosing.told_of(c, tried, chooser) for c in tried],
            "chosen": list(chosen.taps),
            "parts": [(own.taps, share) for own, share in parts],
        },
    )
    return TrainedModel(
        directory=job.directory,
        features=features,
        phase="train_head",
        form=form,
        kept=f"a linear head on {named}, fitted exactly to {rows} examples",
        choosing=may_be_last,
        stats={"features": named, "why": why, **figures},
    )


def _fit(
    features: Features,
    learning: Learning,
    both: Sequence[Inputs],
    chosen: Candidate,
    *,
    clean: bool,
) -> tuple[list[Fit], int]:
    """The heads, on all views of all examples; and on how many examples."""
    training, validation = both
    columns = columns_of(features, chosen.taps)
    parts = [(training, len(features.variants))] + ([] if clean else [(validation, 1)])

    def chunks() -> Iterator[np.ndarray]:
        for inputs, views in parts:
            for view in range(views):
                for start in range(0, len(inputs), _CHUNK):
                    some = np.arange(start, min(start + _CHUNK, len(inputs)))
                    yield inputs.gather(some, view)[:, columns]

    rows = [np.tile(np.arange(len(inputs)), views) for inputs, views in parts]
    questions = choosing.questions_of(features, learning, [inputs for inputs, _ in parts], rows)
    used = sum(len(inputs) for inputs, _ in parts)
    # Found on fewer examples: what it is weighed against grows with them.
    count = sum(map(len, both))
    smaller = choosing.fitted_to(count) / used
    strengths = [path.strength * min(1.0, smaller) for path in chosen.paths]
    weights = [choosing.weight_of(tap, features) for tap in chosen.taps]
    scale = Scale.of(chunks()).weighed(np.repeat(weights, [features.taps[t] for t in chosen.taps]))
    with linear.one_thread():
        return linear.fit(chunks, scale, questions, strengths), used
