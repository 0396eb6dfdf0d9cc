"""The last blessed model as what a new one begins with."""

from __future__ import annotations

from contextlib import suppress

from components.artifacts import ExportedModel
from components.files import sha256, sha256_of_json
from components.frozen.activations import Damaged
from components.modalities.giants import Giant, Pretrained
from components.served.manifest import ServedModel
from components.tasks.protocol import Target
from components.training.heads import WarmHead
from models.mistakes import Mistake
from pipeline.store import ARTIFACT, Store, read_manifest


def warm_start(
    store: Store,
    blessed: ServedModel,
    giant: Giant,
    targets: tuple[Target, ...],
    *,
    by_uncertainty: bool,
) -> tuple[Pretrained, WarmHead]:
    """The weights that `blessed` was exported from, which only the store has.

    Raises:
        Mistake: the store does not have them; another backbone, other labels, another balance.
    """
    exported = exported_as(store, blessed)
    if exported is None or exported.trained is None:
        raise Mistake(
            f"model.warm_start must be of a model that this store has the weights of, got "
            f"{str(blessed.path)!r}, which {str(store.root)!r} does not have"
        )
    trained = exported.trained
    if trained.base.backbone != giant.name:
        raise Mistake(
            f"model.warm_start must be of a model with the backbone {giant.name}, got "
            f"{str(blessed.path)!r} with {trained.base.backbone}: say --model.warm-start none"
        )
    if _asked(trained.base.targets) != _asked(targets):
        raise Mistake(
            f"model.warm_start must be of a model with the same targets and labels, "
            f"{_words(targets)}, got {str(blessed.path)!r} with {_words(trained.base.targets)}: "
            f"say --model.warm-start none"
        )
    if trained.form.balance != by_uncertainty:
        was = "uncertainty" if trained.form.balance else "given"
        raise Mistake(
            f"model.warm_start must be of a model with the same balance, got {str(blessed.path)!r} "
            f"with {was!r}: say --balance {was} or --model.warm-start none"
        )
    told = [target.model_dump() for target in trained.base.targets]
    weights, head = trained.backbone_weights, trained.directory / "head.weights.h5"
    description = f"those of {blessed.path.parent.name} version {blessed.path.name}"
    return (
        Pretrained(sha256(weights), description, weights),
        WarmHead(
            digest=sha256_of_json([sha256(head), trained.form.model_dump(), told]),
            path=head,
            seen=trained.features.examples.directory / "index.jsonl",
            form=trained.form,
            targets=trained.base.targets,
        ),
    )


def exported_as(store: Store, blessed: ServedModel) -> ExportedModel | None:
    """The artifact whose model was pushed: both have the same manifest."""
    for path in store.root.glob(f"export/*/{ARTIFACT}"):
        # What is damaged is as good as gone.
        with suppress(OSError, ValueError, Damaged):
            files = read_manifest(path.parent)["files"]
            if files.get("model/MANIFEST.json", {}).get("sha256") == blessed.digest:
                ref = path.parent.relative_to(store.root).as_posix()
                if found := store.load(ExportedModel, ref):
                    store.verify(found)
                return found
    return None


def _asked(targets: tuple[Target, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    """In their order, which is that of the head's outputs."""
    return [(target.name, target.task, target.space.labels) for target in targets]


def _words(targets: tuple[Target, ...]) -> str:
    return "; ".join(", ".join(t.space.labels) or t.task.replace("_", " ") for t in targets)
