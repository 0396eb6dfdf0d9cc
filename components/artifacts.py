"""What stages hand on: frozen records, each with the directory its files lie in."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationInfo,
    model_validator,
)

from components.files import MANIFEST, changed, read_json, read_jsonl
from components.section import Views
from components.tasks.figures import Comparison
from components.tasks.protocol import Target

# The splits that are trained on; test examples go through the exported model instead.
TRAINED_ON = ("train", "validation")
# Of a trained model: what heads said of examples that they had not seen.
HELD_OUT = "held_out.jsonl"
# Of a score: what is watched of each target → its value for each example that has an answer.
WATCHED = "watched.npz"
# Of a report: what to try next.
PROPOSALS = "proposals.json"
# Of suspects: patches to be filled in by a person.
SUSPECTS, OUTLIERS = "suspects.csv", "outliers.csv"


class Artifact(BaseModel):
    """One stage's result: facts small enough to carry along, and a directory of files.

    Attributes:
        directory: where the files are.
        ref: `STAGE/FINGERPRINT`, relative to the store; empty until it is committed.
        digest: sha256 over the facts and the files, whatever made them.
        stats: figures for people and `--json`; not part of the digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    not_content: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of files that say nothing that the others do not."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of the statistics that a person should see at once, in order."""

    directory: Path = Field(exclude=True)
    ref: str = ""
    digest: str = ""
    stats: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _follow(
        cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """An artifact inside another one is written as a reference; read what it points to."""
        if isinstance(value, dict) and "$artifact" in value and info.context:
            found: Self = info.context["load"](cls, value["$artifact"], value["digest"])
            return found
        return handler(value)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should read at once, a sentence each."""
        return ()

    @property
    def bytes_elsewhere(self) -> int:
        """What it takes on disk besides its own files."""
        return 0

    def still_valid(self) -> bool:
        """Whether what the artifact says of the world outside its directory is still so."""
        return True


class Examples(Artifact):
    """Labelled examples, as a TFDS dataset that `tfds.builder_from_directory` reads.

    ```
    examples/1.0.0/      the TFDS dataset: splits train, validation, test
    index.jsonl          a row an example: id, name, answers, split, facts (sizes …)
    quarantine.jsonl     a row an example that cannot be used: name, answers, reason, its code
    ```
    """

    shown = ("train", "validation", "test", "quarantined", "ignored")

    account: ClassVar[tuple[str, ...]] = (
        *("found", "used", "quarantined", "ignored", "ignored_files"),
    )
    """What the statistics say of what became of all that is there."""

    # The ids in the index are those of the content; TFDS writes the same content in many ways.
    not_content: ClassVar[tuple[str, ...]] = ("examples/",)

    modality: str
    targets: tuple[Target, ...]
    """What is asked, and which answers there are; of numbers, by those to train on."""
    counts: dict[str, int]
    """Examples by split."""
    slices: tuple[str, ...] = ()
    """The columns of a table that parts are told apart by."""

    @property
    def dataset(self) -> Path:
        return self.directory / "examples" / "1.0.0"

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why how many files or rows are not used."""
        return tuple(
            f"{row['count']} not used: {row['name']} {row['reason']}"
            + (" …" if row["count"] > 1 else "")
            for row in self.stats.get("set_aside", [])
        )


class Checks(Artifact):
    """What validate found out about examples that passed: `checks.json`."""

    shown = ("classes", "warnings")

    examples: Examples
    warnings: tuple[str, ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        return self.warnings


class HeadForm(BaseModel):
    """What a head is like, which its weights belong to.

    Attributes:
        unit: features become unit vectors.
        taps: the names of the taps that it reads, from the bottom up; the network's own output
            where empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = 0
    dropout: float = 0.0
    normalize: bool = True
    unit: bool = False
    balance: bool = False
    taps: tuple[str, ...] = ()


# What a published head is kept as.
OWN_HEAD = "own_head.npz"


class AssembledModel(Artifact):
    """A frozen backbone for our targets.

    ```
    backbone.weights.h5  its weights
    preset/              of presets: what they are built from again, without weights
    own_head.npz         the head that it was published with, where that came with its weights:
                         kernel (features, classes), bias (classes,)
    ```
    """

    backbone: str
    modality: str
    form: dict[str, Any]
    """What becomes of an example before the network reads it; the modality's own record."""
    pooling: str
    targets: tuple[Target, ...]
    pretrained: str
    """Where the weights came from, in words."""
    source: TrainedModel | None = None
    """The model whose weights they are, where we trained it."""

    @property
    def weights(self) -> Path:
        return self.directory / "backbone.weights.h5"

    @property
    def own_head(self) -> Path:
        return self.directory / OWN_HEAD


class Features(Artifact):
    """Which rows of the activation store are the examples to train on.

    ```
    rows.jsonl           a row an example: id, split, answers
    shards.json          the shards of the activation store that they are in
    ```
    """

    shown = ("computed", "reused", "block")

    not_content: ClassVar[tuple[str, ...]] = ("shards.json",)

    model: AssembledModel
    examples: Examples
    block: str | None
    """The first block to be trained; None where nothing but the head is."""
    cut: str | None
    """The block before which activations are taken: `block` or, to take less room, one before."""
    views: Views
    variants: tuple[str, ...]
    """What is appended to an example's id to name each of the views that are stored."""
    seed: int
    """Of the views."""
    batch_size: int
    """Examples a forward pass."""
    keys: dict[str, str]
    """The output (`pooled`, `taps`, `at_cut`) → its key in the store. One that is not here is not
    stored, and is computed when it is asked for."""
    taps: dict[str, int] = {}
    """The name of each tap → how many features it has, in the order in which they are stored."""
    counts: dict[str, int]
    store: Path = Field(exclude=True)

    @property
    def remarks(self) -> tuple[str, ...]:
        return tuple(filter(None, [self.stats.get("note")]))

    @property
    def bytes_elsewhere(self) -> int:
        return int(self.stats.get("bytes", 0))

    def still_valid(self) -> bool:
        shards = json.loads((self.directory / "shards.json").read_text())
        return all(
            (self.store / key / f"{shard}.json").is_file()
            for key in self.keys.values()
            for shard in shards[key]
        )


class TrainedModel(Artifact):
    """A model whose head, and maybe more, is trained.

    ```
    head.weights.h5      the head
    backbone.weights.h5  the whole backbone, only where fine-tuning changed it
    history.json         a row an epoch of this phase
    audit.json           what moved, and what was frozen and did not
    forgetting.json      what fine-tuning did to the backbone; see `judging.forgetting`
    choice.json          what was compared to choose the features, where it was
    held_out.jsonl       what the heads of cross-validation said, where there were any
    ladder.json          what was tried, from cheap to dear, where one way was to be found
    prototypes.npz       what a head of class means is made of; see `training.few`
    shots.json           how good heads of few examples of each class are, where it is one of them
    search.json          the heads that were tried, where there was a search
    rivals.json          the networks that were tried to be the control
    tensorboard/         the same epochs for TensorBoard
    ```
    """

    shown = ("block", "features", "epochs", "cv_", "val_")

    not_content: ClassVar[tuple[str, ...]] = ("tensorboard/",)

    features: Features
    before: TrainedModel | None = None
    """The model this phase began with."""
    phase: str
    form: HeadForm
    kept: str
    """Which weights these are, as a sentence: this phase's, or those it began with."""
    settled: str = ""
    """Why nothing dearer is to be tried, as a sentence; empty where it may be."""
    cut_short: str = ""
    """Why it was not trained for as long as was asked, as half a sentence."""
    title: str = ""
    """Which of several networks it is, where some were tried."""
    choosing: bool = False
    """Whether what costs more is only kept where it is better beyond noise."""
    backbone_changed: bool = False

    @property
    def base(self) -> AssembledModel:
        return self.features.model

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why it reads what it reads; that what was trained is not kept; that less was trained."""
        if self.cut_short:
            return (f"Trained for less than was asked: {self.cut_short}.",)
        if why := self.stats.get("why"):
            return (f"{why[:1].upper()}{why[1:]}.",)
        thrown_away = self.phase == "fine_tune" and not self.backbone_changed
        if thrown_away and not self.stats.get("skipped"):
            return (f"The model has {self.kept}.",)
        return ()

    @property
    def backbone_weights(self) -> Path:
        if self.backbone_changed:
            return self.directory / "backbone.weights.h5"
        return self.before.backbone_weights if self.before else self.base.weights


class Score(Artifact):
    """How a trained model does on the examples to validate with.

    ```
    losses.npy           (examples,)
    watched.npz          what is watched of each target, by example
    held_out.jsonl       the answers, and what it said
    ```
    """

    shown = ("loss",)

    model: TrainedModel
    loss: float
    """Their mean; of what would be served."""


class Suspects(Artifact):
    """The data, questioned.

    ```
    suspects.csv         labels that are likely wrong, the likeliest first
    outliers.csv         examples that are like no other, the farthest first
    twins.json           labels that could not be told apart
    learning_curve.json  what heads are like that were fitted to fewer examples: sizes …
    learning_curve.npz   … and what each was off by; see `tasks.more_labels`
    ```
    """

    shown = ("suspects", "outliers")

    questioned: int
    """How many examples were looked at."""
    why_not: str
    """Why none was; empty where some were."""


class Appraisal(Artifact):
    """How well a giant's frozen features tell a sample of the examples apart, and at what price.

    ```
    appraisal.json       what was found: scores, price, how far the data is from what it knows
    errors.npz           each score → (examples,) what it is off by on each
    ids.json             of the examples
    ```
    """

    shown = ("knn", "last", "taps")

    features: Features

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.directory / "appraisal.json")
        return found


class Advice(Artifact):
    """Which giant, how much of it, and in which way; with the evidence.

    ```
    advice.json
    advice.html
    ```
    """

    shown = ("finalists",)

    # The page tells when it was written.
    not_content: ClassVar[tuple[str, ...]] = ("advice.html",)

    settings: dict[str, Any]
    """What a recipe departs to: keys with dots → values."""

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.directory / "advice.json")
        return found

    @property
    def page(self) -> Path:
        return self.directory / "advice.html"


class ExportedModel(Artifact):
    """A servable SavedModel.

    ```
    model/saved_model.pb, variables/
    model/assets/        labels.txt, where there are labels; what else a task has
    model/assets.extra/  tf_serving_warmup_requests, model_card.md, contract.json, sbom.cdx.json
    model/MANIFEST.json  sha256 of every other file
    near.jsonl           validation examples that are nearly the same as one that was trained on
    map.jsonl            where some of the examples lie in the plane in which they differ most
    ```
    """

    # TensorFlow numbers what it writes by what the process did before: the same weights as the
    # same program have many forms.
    not_content: ClassVar[tuple[str, ...]] = (
        "model/saved_model.pb",
        "model/fingerprint.pb",
        "model/variables/",
        "model/MANIFEST.json",
        "model/assets.extra/sbom.cdx.json",
        "map.jsonl",
    )

    modality: str
    targets: tuple[Target, ...]
    """With what was decided on validation examples, such as thresholds."""
    version: int
    """Of the stage that wrote it: the same weights in another program are another model."""
    trained: TrainedModel | None = None

    @property
    def path(self) -> Path:
        return self.directory / "model"

    @property
    def near(self) -> list[dict[str, Any]]:
        """Validation examples that are nearly the same as one that was trained on: `id`, `nearest`
        (its id), `distance`."""
        return list(read_jsonl(self.directory / "near.jsonl"))


class Evaluation(Artifact):
    """How an exported model does on the test split, through its serving signature.

    ```
    metrics.json         figures, and what the tasks tell besides: of classes, confusion …
    predictions.parquet  a row an example: id, name, valid, and for each target answer and said
    asked.json           digests of the model that was asked and of the examples, and the targets
    likeness.json        how like the examples are to those that it was trained on; and …
    near_duplicates.csv  … those that are nearly the same as one of them
    worst.json, .npz     the worst mistakes: words, and the examples
    ```
    """

    shown = ("",)

    # The same weights as the same program have many forms; see `ExportedModel`.
    not_content: ClassVar[tuple[str, ...]] = ("asked.json",)

    model: ExportedModel | None
    """What was evaluated; None where it came from outside."""
    targets: tuple[Target, ...]
    """What was asked; the answers are those of the examples."""
    examples: int
    said_by: tuple[Target, ...]
    """What the model answers, in its own order and of its own space."""
    figures: dict[str, float]
    """Every figure of every target, by its name."""
    intervals: dict[str, tuple[float, float]]
    """Of each figure: what holds it in 95 of 100 such sets of examples."""
    trivial: dict[str, float]
    """The main figures of always giving the same answer, which is …"""
    trivially: dict[str, str]
    """… this one."""
    judged: dict[str, int]
    """On how many examples, those with an answer, each main figure is."""
    invalid: int


@dataclass(frozen=True)
class Rivals:
    """What a candidate is compared with, on the same examples.

    Attributes:
        blessed: the last blessed model; None where there is none.
        control: the best that was trained from scratch on the same labels …
        shortcut: … and what can be said without looking at an example; None where not asked for.
    """

    blessed: Evaluation | None = None
    control: Evaluation | None = None
    shortcut: Evaluation | None = None

    def named(self) -> dict[str, Evaluation]:
        """Those that there are, by what they are."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: rival for name, rival in found.items() if rival is not None}


class Blessing(Artifact):
    """The verdict, in an empty file called BLESSED or NOT_BLESSED, and the reasons."""

    shown = ("blessed",)

    blessed: bool
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()
    """All figures, beside those of each rival."""


class PushedModel(Artifact):
    """Where a blessed model was put, or why nothing was."""

    shown = ("version",)

    path: Path | None
    reason: str
    withdrawn: bool = False
    """A person went back from it; it is not pushed again by itself."""

    def still_valid(self) -> bool:
        """Whether it is still there, every byte as it was: else it is pushed again."""
        if self.path is None:
            return True
        try:
            return not changed(self.path, MANIFEST)
        except (OSError, ValueError):
            return False


class Report(Artifact):
    """One page that needs nothing else, and what travels with the model, with its figures.

    ```
    report.html
    model_card.md
    proposals.json       what to try next: what, why, flags, gain, source
    ```
    """

    # The page tells times; the card says again what the evaluation says.
    not_content: ClassVar[tuple[str, ...]] = ("report.html", "model_card.md", PROPOSALS)

    evaluation: Evaluation
    blessing: Blessing

    @property
    def path(self) -> Path:
        return self.directory / "report.html"

    @property
    def proposals(self) -> list[dict[str, Any]]:
        """What to try next: `what`, `why`, `flags`, `gain` and `source` of each."""
        found: list[dict[str, Any]] = read_json(self.directory / PROPOSALS)
        return found

    @property
    def card(self) -> Path:
        return self.directory / "model_card.md"


class TrackedRun(Artifact):
    """What MLflow calls the run, and the version of the model it registered, if any."""

    shown = ("version",)

    run_id: str
    model_version: int | None


@dataclass(frozen=True)
class SoFar:
    """What a run has come to when it tells of itself."""

    checks: Checks
    features: Features
    suspects: Suspects
    head: TrainedModel
    tuned: TrainedModel
    exported: ExportedModel
    evaluation: Evaluation
    rivals: Rivals
    blessing: Blessing
    pushed: PushedModel
