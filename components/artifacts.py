"""What stages hand on: frozen records, each with the directory its files lie in."""

from __future__ import annotations

import json
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

from components.section import AugmentConfig

# The splits that are trained on; test examples go through the exported model instead.
TRAINED_ON = ("train", "validation")


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

    def holds(self) -> bool:
        """Whether what the artifact says of the world outside its directory is still so."""
        return True


class Examples(Artifact):
    """Labelled examples, as a TFDS dataset that `tfds.builder_from_directory` reads.

    ```
    examples/1.0.0/      the TFDS dataset: splits train, validation, test
    index.jsonl          a row an example: id, name, label, split, facts (sizes …)
    quarantine.jsonl     a row a file that could not be used: name, label, reason
    ```
    """

    # The ids in the index are those of the content; TFDS writes the same content in many ways.
    not_content: ClassVar[tuple[str, ...]] = ("examples/",)

    modality: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    """Examples by split."""

    @property
    def dataset(self) -> Path:
        return self.directory / "examples" / "1.0.0"


class Checks(Artifact):
    """What validate found out about examples that passed: `checks.json`."""

    examples: Examples
    warnings: tuple[str, ...]


class AssembledModel(Artifact):
    """A frozen backbone for our classes.

    ```
    backbone.weights.h5  its weights
    preset/              text: KerasHub's architecture and tokenizer, without weights
    ```
    """

    backbone: str
    modality: str
    form: dict[str, Any]
    """What becomes of an example before the network reads it; the modality's own record."""
    pooling: str
    labels: tuple[str, ...]
    pretrained: str
    """Where the weights came from, in words."""
    source: TrainedModel | None = None
    """The model whose weights they are, where we trained it."""

    @property
    def weights(self) -> Path:
        return self.directory / "backbone.weights.h5"


class Features(Artifact):
    """Which rows of the activation store are the examples to train on.

    ```
    rows.jsonl           a row an example: id, split, label (a class number)
    shards.json          the shards of the activation store that they are in
    ```
    """

    not_content: ClassVar[tuple[str, ...]] = ("shards.json",)

    model: AssembledModel
    examples: Examples
    block: str | None
    """The first block to be trained; None where nothing but the head is."""
    cut: str | None
    """The block before which activations are taken: `block` or, to take less room, one before."""
    augment: AugmentConfig
    variants: tuple[str, ...]
    """What is appended to an example's id to name each of the views that are stored."""
    seed: int
    """Of the views."""
    batch_size: int
    """Examples a forward pass."""
    keys: dict[str, str]
    """The output (`pooled`, `crossing`) → its key in the store. One that is not here is not
    stored, and is computed when it is asked for."""
    counts: dict[str, int]
    store: Path = Field(exclude=True)

    def holds(self) -> bool:
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
    search.json          the heads that were tried, where there was a search
    tensorboard/         the same epochs for TensorBoard
    ```
    """

    not_content: ClassVar[tuple[str, ...]] = ("tensorboard/",)

    features: Features
    before: TrainedModel | None = None
    """The model this phase began with."""
    phase: str
    hidden: int
    dropout: float
    normalize: bool = True
    kept: str
    """Which weights these are, as a sentence: this phase's, or those it began with."""
    backbone_changed: bool = False

    @property
    def base(self) -> AssembledModel:
        return self.features.model

    @property
    def backbone_weights(self) -> Path:
        if self.backbone_changed:
            return self.directory / "backbone.weights.h5"
        return self.before.backbone_weights if self.before else self.base.weights


class ExportedModel(Artifact):
    """A servable SavedModel.

    ```
    model/saved_model.pb, variables/
    model/assets/labels.txt
    model/assets.extra/  tf_serving_warmup_requests, model_card.md, contract.json
    model/MANIFEST.json  sha256 of every other file
    ```
    """

    # TensorFlow numbers what it writes by what the process did before: the same weights as the
    # same program have many forms.
    not_content: ClassVar[tuple[str, ...]] = (
        "model/saved_model.pb",
        "model/fingerprint.pb",
        "model/variables/",
        "model/MANIFEST.json",
    )

    modality: str
    labels: tuple[str, ...]
    version: int
    """Of the stage that wrote it: the same weights in another program are another model."""
    trained: TrainedModel | None = None

    @property
    def path(self) -> Path:
        return self.directory / "model"


class Evaluation(Artifact):
    """How an exported model does on the test split, through its serving signature.

    ```
    metrics.json         accuracy, log loss, per-class figures, confusion matrix
    predictions.jsonl    a row an example: id, name, label, predicted, probabilities
    ```
    """

    model: ExportedModel | None
    """What was evaluated; None where it came from outside."""
    labels: tuple[str, ...]
    examples: int
    accuracy: float
    log_loss: float
    majority: float
    """Accuracy of always answering the most frequent class of the test split."""
    recall: dict[str, float]
    invalid: int


class Blessing(Artifact):
    """The verdict, in an empty file called BLESSED or NOT_BLESSED, and the reasons."""

    blessed: bool
    reasons: tuple[str, ...]


class PushedModel(Artifact):
    """Where a blessed model was put, or why nothing was."""

    path: Path | None
    reason: str

    def holds(self) -> bool:
        return self.path is None or (self.path / "saved_model.pb").is_file()


class Report(Artifact):
    """`report.html`, one page that needs nothing else."""

    # It tells times.
    not_content: ClassVar[tuple[str, ...]] = ("report.html",)

    evaluation: Evaluation
    blessing: Blessing

    @property
    def path(self) -> Path:
        return self.directory / "report.html"


class TrackedRun(Artifact):
    """What MLflow calls the run, and the version of the model it registered, if any."""

    run_id: str
    model_version: int | None
