"""The last blessed model as what a new one begins with."""

from __future__ import annotations

from components.artifacts import ExportedModel
from components.files import read_json, sha256, sha256_of_json
from components.modalities.giants import Giant, Pretrained, WarmHead
from components.served.manifest import ServedModel
from models.mistakes import Mistake
from pipeline.store import ARTIFACT, Store


def warm_start(
    store: Store, blessed: ServedModel, giant: Giant, labels: tuple[str, ...]
) -> tuple[Pretrained, WarmHead]:
    """The weights that `blessed` was exported from, which only the store has.

    Raises:
        Mistake: the store does not have them; another backbone; other labels.
    """
    exported = _exported(store, blessed)
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
    if trained.base.labels != labels:
        raise Mistake(
            f"model.warm_start must be of a model with the labels {', '.join(labels)}, got "
            f"{str(blessed.path)!r} with {', '.join(trained.base.labels)}: say "
            f"--model.warm-start none"
        )
    weights, head = trained.backbone_weights, trained.directory / "head.weights.h5"
    description = f"those of {blessed.path.parent.name} version {blessed.path.name}"
    return (
        Pretrained(sha256(weights), description, weights),
        WarmHead(
            digest=sha256_of_json(
                [sha256(head), trained.hidden, trained.dropout, trained.normalize]
            ),
            path=head,
            seen=trained.features.examples.directory / "index.jsonl",
            hidden=trained.hidden,
            dropout=trained.dropout,
            normalize=trained.normalize,
        ),
    )


def _exported(store: Store, blessed: ServedModel) -> ExportedModel | None:
    """The artifact whose model was pushed: both have the same manifest."""
    for path in store.root.glob(f"export/*/{ARTIFACT}"):
        files = read_json(path)["files"]
        if files.get("model/MANIFEST.json", {}).get("sha256") == blessed.digest:
            ref = path.parent.relative_to(store.root).as_posix()
            found: ExportedModel | None = store.load(ExportedModel, ref)
            return found
    return None
