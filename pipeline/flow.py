"""The pipeline: which stages there are, in which order, and what each gets. Read this first.

`flow` may branch on the config, never on what an artifact holds. So the same function can be
executed, traced to say what would run, and compiled for a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from components.artifacts import (
    AssembledModel,
    Blessing,
    Checks,
    Evaluation,
    Examples,
    Features,
    PushedModel,
    Report,
    Rivals,
    Score,
    SoFar,
    TrainedModel,
)
from components.assemble import assemble
from components.bless import bless
from components.climb import climb
from components.evaluate import evaluate
from components.examples.patching import Patch
from components.examples.source import Source
from components.export import NOTHING_BESIDE, export
from components.extract import Vectors, extract
from components.fine_tune import Rung, fine_tune
from components.ingest import ingest
from components.job import Job
from components.modalities.giants import NO_WEIGHTS, Giant, Pretrained
from components.push import push
from components.refit import refit
from components.report import About, report
from components.resplit import resplit
from components.score import score
from components.section import Views, seconds_of
from components.served.manifest import ServedModel
from components.served.versions import ServingDirectory
from components.shortcut import shortcut
from components.suspect import suspect
from components.tasks.learning import Learning
from components.tasks.protocol import Target
from components.track import track
from components.train_control import train_control
from components.train_from_scratch import train_from_scratch
from components.train_head import train_head
from components.training.heads import WarmHead
from components.validate import validate
from pipeline.config import Config

P = ParamSpec("P")
A = TypeVar("A")


class Run(Protocol):
    """Interprets the flow, a stage at a time."""

    def __call__(
        self, stage: Callable[Concatenate[Job, P], A], *args: P.args, **kwargs: P.kwargs
    ) -> A: ...

    def under(self, name: str) -> Run:
        """The same interpreter, which calls the stages of a branch `NAME.STAGE`."""


def stage_versions() -> dict[str, int]:
    """The version of every stage that the flow knows."""
    return {
        name: value.stage_version
        for name, value in globals().items()
        if hasattr(value, "stage_version")
    }


@dataclass(frozen=True)
class Outside:
    """Everything from outside that a run depends on, resolved once, before the flow."""

    source: Source
    pretrain_source: Source | None
    patch: Patch | None
    """Corrections of the source by hand."""
    giant: Giant
    small: Giant
    """A small network that reads what the giant reads."""
    pretrained: Pretrained | None
    head: WarmHead | None
    """The last blessed model's, where this run goes on from it."""
    blessed: ServedModel | None
    is_first: bool
    """There is no blessed model yet."""
    other_targets: tuple[Target, ...] | None
    """The last blessed model's targets, where they are not those of the source."""
    serving: ServingDirectory
    about: About


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    evaluation: Evaluation
    blessing: Blessing
    pushed: PushedModel
    report: Report


def flow(run: Run, config: Config, outside: Outside) -> Outcome:
    """From raw examples to a pushed model."""
    seed = config.seed
    examples, checks = checked(run, config, outside)
    model, features = frozen(run, config, outside, examples, checks)
    suspects = run(suspect, features, config.learning)
    head = run(train_head, features, config.way, config.learning, start=outside.head, seed=seed)
    tuned, phases = tuned_from(run, config, model, examples, features, head)
    if config.refits:
        tuned = refitted(run, config, features, head, phases, tuned)
    exported = run(export, tuned, examples, config.export, config.serve)
    evaluation = run(evaluate, exported, examples, config.evaluate)

    rivals = Rivals()
    if outside.blessed:
        asked = run.under("blessed")(evaluate, outside.blessed, examples, config.evaluate)
        rivals = replace(rivals, blessed=asked)
    # Whether transferring helps is asked once; then, whether the next model is as good.
    if config.control.is_wanted(is_first=outside.is_first):
        control = controlled(run.under("control"), config, outside, examples, checks, features)
        known = run(shortcut, examples, config.learning)
        rivals = replace(rivals, control=control, shortcut=known)

    blessing = run(bless, evaluation, rivals, config.bless)
    pushed = run(push, exported, blessing, outside.serving, config.push)
    so_far = SoFar(
        checks, features, suspects, head, tuned, exported, evaluation, rivals, blessing, pushed
    )
    page = run(report, so_far, outside.about)
    if config.mlflow.tracking_uri:
        run(track, so_far, page, config.mlflow)
    return Outcome(evaluation, blessing, pushed, page)


def checked(run: Run, config: Config, outside: Outside) -> tuple[Examples, Checks]:
    """From raw examples to examples that will do."""
    examples = run(ingest, outside.source, config.data, outside.patch)
    checks = run(validate, examples, outside.other_targets, config.data.allow_new_labels)
    return examples, checks


def frozen(
    run: Run, config: Config, outside: Outside, examples: Examples, checks: Checks
) -> tuple[AssembledModel, Features]:
    """The giant, and what its frozen part gives for the examples."""
    seed = config.seed
    pretrained = outside.pretrained or pretrain(run.under("pretrain"), config, outside)
    model = run(assemble, checks, outside.giant, pretrained, config.model, config.own, seed=seed)
    vectors = config.vectors
    if vectors == "last" and outside.head and config.unfreeze:
        vectors = "none"  # A head that comes with the backbone waits to be fine-tuned with it.
    return model, given(run, config, model, examples, vectors)


def given(
    run: Run, config: Config, model: AssembledModel, examples: Examples, vectors: Vectors
) -> Features:
    """What the frozen part of a giant gives for the examples."""
    return run(
        extract,
        model,
        examples,
        config.unfreeze,
        config.views,
        config.extract,
        vectors=vectors,
        seed=config.seed,
    )


# What is unfrozen, from cheap to dear: a name, and what `fine_tune.unfreeze` would say.
RUNGS = {"last blocks": "25%", "half of the blocks": "50%", "all blocks": "all"}


# Branches, in which models were fine-tuned, each beginning with the one before; and what of the
# examples each has read.
Phases = dict[str, tuple[Features, TrainedModel]]


def tuned_from(
    run: Run,
    config: Config,
    model: AssembledModel,
    examples: Examples,
    features: Features,
    head: TrainedModel,
) -> tuple[TrainedModel, Phases]:
    """As much of the giant fine-tuned as is asked for, or as helps."""
    if config.strategy == "auto":
        return climbed(run, config, model, examples, features, head)
    tuned = run(fine_tune, head, features, config.fine_tune, config.learning, seed=config.seed)
    return tuned, {"": (features, tuned)}


def climbed(
    run: Run,
    config: Config,
    model: AssembledModel,
    examples: Examples,
    features: Features,
    head: TrainedModel,
) -> tuple[TrainedModel, Phases]:
    """Fine-tune ever more of the giant, as long as that is better beyond noise."""
    seed, clean = config.seed, head
    if config.vectors == "taps":  # Such a head has seen the examples to validate with, too.
        clean = run.under("compared")(
            train_head, features, config.way, config.learning, seed=seed, clean=True
        )
    top, rungs, phases = clean, dict[str, TrainedModel](), Phases()
    for name, unfreeze in RUNGS.items():
        own = name.replace(" ", "_")
        branch = run.under(own)
        vectors: Vectors = "taps" if config.vectors == "taps" else "none"
        read = branch(
            extract,
            model,
            examples,
            unfreeze,
            config.views,
            config.extract,
            vectors=vectors,
            seed=seed,
            after=top,
        )
        top = rungs[name] = branch(
            fine_tune,
            top,
            read,
            config.fine_tune,
            config.learning,
            seed=seed,
            rung=Rung(name, seconds_of(config.runtime.budget)),
        )
        phases[own] = (read, top)
    return run(climb, head, rungs), phases


def refitted(
    run: Run,
    config: Config,
    features: Features,
    head: TrainedModel,
    phases: Phases,
    tuned: TrainedModel,
) -> TrainedModel:
    """What was found, trained on all examples but the test; and judged by leaving folds out."""
    learning, seed, folds = config.learning, config.seed, config.final.folds

    def like(name: str, fold: int) -> TrainedModel:
        branch = run.under(name)
        split = branch(resplit, features, fold, folds)
        found = branch(train_head, split, config.way, learning, seed=seed, clean=True, like=head)
        for rung, (read, phase) in phases.items():
            own = branch
            if rung:  # It has read other activations of the same examples.
                own = run.under(f"{name}.{rung}")
                split = own(resplit, read, fold, folds)
            found = own(fine_tune, found, split, config.fine_tune, learning, seed=seed, like=phase)
        return found

    scores = [
        run.under(f"fold_{fold + 1}")(score, like(f"fold_{fold + 1}", fold), learning)
        for fold in range(folds)
    ]
    return run(refit, tuned, like("whole", folds), tuple(scores))


def scored(run: Run, config: Config, outside: Outside) -> Score:
    """From raw examples to how a model does on the examples to validate with."""
    examples, checks = checked(run, config, outside)
    model, features = frozen(run, config, outside, examples, checks)
    return tried(run, config, model, examples, features, config.learning.judged)


def tried(
    run: Run,
    config: Config,
    model: AssembledModel,
    examples: Examples,
    features: Features,
    judged: Learning,
) -> Score:
    """From what a frozen giant gives to how a model does on the examples to validate with.

    Args:
        judged: by whose loss; the same one for all that are compared.
    """
    way, learning, seed = config.way, config.learning, config.seed
    if config.fits_all:
        head = run(train_head, features, way, learning, seed=seed, clean=True)
    else:  # The very head of a run.
        head = run(train_head, features, way, learning, start=None, seed=seed)
    tuned, _ = tuned_from(run, config, model, examples, features, head)
    return run(score, tuned, judged)


def pretrain(run: Run, config: Config, outside: Outside) -> TrainedModel:
    """Where no hub can be reached: train the giant on a source task first."""
    if outside.pretrain_source is None:
        raise ValueError("without weights from outside, there must be a source task")
    examples = run(ingest, outside.pretrain_source, config.pretrain.data)
    checks = run(validate, examples, None, True)
    network = run(
        assemble, checks, outside.giant, NO_WEIGHTS, config.model, config.own, seed=config.seed
    )
    inputs = decoded(run, network, examples, config.views, config)
    return run(
        train_from_scratch, inputs, config.pretrain, config.one_label_learning, seed=config.seed
    )


def controlled(
    run: Run,
    config: Config,
    outside: Outside,
    examples: Examples,
    checks: Checks,
    features: Features,
) -> Evaluation:
    """The best that can be trained from scratch on the same labels, judged like the candidate."""
    network = run(
        assemble, checks, outside.small, NO_WEIGHTS, config.model, config.own, seed=config.seed
    )
    inputs = decoded(run, network, examples, config.control_views, config)
    control = run(
        train_control, inputs, features, config.control, config.learning, seed=config.seed
    )
    exported = run(export, control, examples, config.export, NOTHING_BESIDE)
    return run(evaluate, exported, examples, config.evaluate)


def decoded(
    run: Run, network: AssembledModel, examples: Examples, views: Views, config: Config
) -> Features:
    """What a network reads that is trained whole: with nothing frozen, its features are inputs."""
    return run(
        extract, network, examples, "all", views, config.extract, vectors="none", seed=config.seed
    )
