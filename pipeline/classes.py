"""A class more, or one less, for a model of class means: nothing is trained.

What the old examples are is in the store, as the giant sees them; the mean of the new is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.agree import agree
from components.artifacts import Blessing, Evaluation, ExportedModel, PushedModel, Rivals
from components.bless import BlessConfig, bless
from components.evaluate import EvaluateConfig, evaluate
from components.export import ExportConfig, ServeConfig, export
from components.extract import ExtractConfig, Vectors, extract
from components.files import MOST_BYTES, sha256, sha256_of_each, sha256_of_json
from components.push import PushConfig, push
from components.reclass import Added, reclass
from components.retarget import retarget
from components.section import Views
from components.served.manifest import (
    MANIFEST,
    ServedModel,
    find_model,
    targets_of,
    verify_manifest,
)
from components.served.signing import SIGNATURE
from components.served.versions import ServingDirectory
from components.tasks.figures import Comparison
from components.tasks.learning import Learning
from components.tasks.one_label import OneLabelConfig
from components.train_head import train_head
from components.training.head_config import HeadConfig
from models.mistakes import UNSEEN, Mistake
from pipeline.config import Config
from pipeline.console import Log
from pipeline.flow import Run
from pipeline.interpreters.execute import Executor, execute
from pipeline.records import Step
from pipeline.session import runtime_of
from pipeline.store import ARTIFACT, Store, read_manifest
from pipeline.warm import exported_as
from pipeline.working import at_work


@dataclass(frozen=True)
class Changed:
    """What became of it.

    Attributes:
        evaluation: on the test examples of all classes.
        kept: the main figure on those of the old ones, beside what was served before.
    """

    evaluation: Evaluation
    kept: Comparison
    blessing: Blessing
    pushed: PushedModel
    labels: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "figures": self.evaluation.figures,
            "old_classes": self.kept.model_dump(),
            "blessed": self.blessing.blessed,
            "reasons": self.blessing.reasons,
            "version": int(self.pushed.path.name) if self.pushed.path else None,
            "pushed": str(self.pushed.path) if self.pushed.path else None,
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class _Given:
    """What is served, and what it was exported from."""

    served: ServedModel
    exported: ExportedModel
    serving: ServingDirectory
    export: ExportConfig
    serve: ServeConfig
    bless: BlessConfig
    push: PushConfig


def change(
    model: Path,
    label: str,
    files: Sequence[Path],
    store: Path,
    console: Log,
    *,
    removes: bool,
    sign: str = "",
) -> Changed:
    """Add a class of some files to a served model, or remove one; push it if it is blessed.

    It is exported, blessed and served as the model was.

    Args:
        sign: see `PushConfig`.

    Raises:
        Mistake: the model is none of class means, or not of this store; it is signed, and there is
            no key; the class is there already, or is not; a file is no example.
    """
    opened = Store(store)
    path = find_model(model.expanduser(), opened.root / "serving").resolve()
    manifest = verify_manifest(path)
    served = ServedModel(path, sha256(path / MANIFEST), targets_of(manifest))
    runtime = runtime_of(Config(), opened, path.parent, path.parent.name, fresh=False)
    with at_work(opened, path.parent, ""):
        exported = exported_as(opened, served)
        given = _as_before(opened, served, _checked(exported, served, store), sign)
        _check_label(served, label, removes=removes)
        added = None if removes else _added(label, files)
        steps: list[Step] = []
        executor = Executor(opened, runtime, console, steps)
        try:
            found = execute(
                lambda: changed(executor, given, added, label if removes else ""), console, steps
            )
        finally:
            console.stop()
    evaluation, blessing, pushed = found
    [kept] = [one for one in blessing.comparisons if one.name == "accuracy"][:1]
    labels = evaluation.targets[0].space.labels
    seconds = sum(step.seconds for step in steps)
    return Changed(evaluation, kept, blessing, pushed, labels, seconds)


def changed(
    run: Run, given: _Given, added: Added | None, removed: str
) -> tuple[Evaluation, Blessing, PushedModel]:
    """From the stored examples to a pushed model."""
    trained = given.exported.trained
    assert trained is not None
    old, taps = trained.features.examples, bool(trained.form.taps)
    examples = run(reclass, old, added, removed)
    model = run(retarget, trained, examples)
    vectors: Vectors = "taps" if taps else "last"
    seed = trained.features.seed
    features = run(
        extract, model, examples, 0, Views(), ExtractConfig(), vectors=vectors, seed=seed
    )
    head = HeadConfig(kind="prototype", features="taps" if taps else "last")
    learning = Learning(own={"one_label": OneLabelConfig().model_dump()})
    means = run(train_head, features, head, learning, seed=seed)
    exported = run(export, means, examples, given.export, given.serve)
    evaluation = run(evaluate, exported, examples, EvaluateConfig())
    # What was there before must not be lost: on its own examples, beside the model of before.
    before = examples if removed else old
    kept = run.under("old_classes")
    now = kept(evaluate, exported, before, EvaluateConfig())
    was = run.under("blessed")(evaluate, given.served, before, EvaluateConfig())
    blessings = (
        kept(bless, now, Rivals(blessed=was), given.bless),
        run(bless, evaluation, Rivals(), given.bless),
    )
    blessing = run(agree, blessings, evaluation, added.label if added else "")
    pushed = run(push, exported, blessing, given.serving, given.push)
    return evaluation, blessing, pushed


def _as_before(store: Store, served: ServedModel, exported: ExportedModel, sign: str) -> _Given:
    """What the model was exported, judged and served by; nothing is forced again."""
    if (served.path / SIGNATURE).exists() and not sign:
        raise Mistake(
            f"--sign must be a key where the model is signed, got none for {str(served.path)!r}"
        )
    made = read_manifest(exported.directory)["inputs"]
    judged = _made_of(store, "evaluate", "model", {exported.digest})
    blessed = _made_of(store, "bless", "candidate", {each["digest"] for each in judged})
    newest = max(blessed, key=lambda each: str(each["created"]), default=None)
    rules = newest["inputs"]["config"] | {"force": ""} if newest else {}
    return _Given(
        served,
        exported,
        ServingDirectory(served.path.parent),
        ExportConfig(**made["config"]),
        ServeConfig(**made["serve"]),
        BlessConfig(**rules),
        PushConfig(sign=sign),
    )


def _made_of(store: Store, stage: str, name: str, digests: set[str]) -> list[dict[str, Any]]:
    """The manifests of a stage's artifacts of which an input is one of these."""
    found = (read_manifest(path.parent) for path in store.root.glob(f"{stage}/*/{ARTIFACT}"))
    return [each for each in found if (each["inputs"].get(name) or {}).get("digest") in digests]


def _checked(exported: ExportedModel | None, served: ServedModel, store: Path) -> ExportedModel:
    where = str(served.path)
    if exported is None or exported.trained is None:
        raise Mistake(f"MODEL must be of a run in {str(store)!r}, got {where!r}, which is not")
    targets = exported.trained.base.targets
    if len(targets) > 1 or targets[0].task != "one_label" or not exported.trained.form.unit:
        raise Mistake(
            f"MODEL must have class means for a head, got {where!r} with another one: run it with "
            f"--head.kind prototype"
        )
    return exported


def _check_label(served: ServedModel, label: str, *, removes: bool) -> None:
    labels = served.targets[0].space.labels
    known = ", ".join(labels)
    if not label.strip() or UNSEEN.search(label):
        raise Mistake(f"NAME must be a label without control characters, got {label!r}")
    if removes and label not in labels:
        raise Mistake(f"NAME must be a class of the model, got {label!r}: it knows {known}")
    if removes and len(labels) < 3:
        raise Mistake(f"NAME must leave two classes or more, got {label!r} of {known}")
    if not removes and label in labels:
        raise Mistake(f"NAME must be a new class, got {label!r}: it knows {known}")


def _added(label: str, files: Sequence[Path]) -> Added:
    for path in files:
        if not path.is_file():
            raise Mistake(f"FILE must be a file, got {str(path)!r}")
    known = sorted(zip(sha256_of_each(files, MOST_BYTES), files, strict=True))
    digest = sha256_of_json([label, [each for each, _ in known]])
    return Added(label, digest, tuple(path for _, path in known))
