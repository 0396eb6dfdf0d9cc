"""Presets: by the name that KerasHub knows them by, from a hub, or in a folder.

A folder is in KerasHub's own form or in Hugging Face's; see `models.presets`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from components.files import files_below, read_json, sha256_of_each, sha256_of_json
from components.modalities.giants import Giant, ModelConfig, Pretrained
from models.mistakes import Mistake, nearest
from models.presets import Row
from models.quiet import import_tensorflow

with epy.lazy_imports():
    import huggingface_hub
    import kagglehub
    import keras_hub

_DESCRIPTIONS = (".json", ".txt", ".spm", ".model")
_WEIGHTS = (".safetensors", ".weights.h5")
_NOT_THERE = "to be downloaded"
# Names of folders with a preset that do not tell which one it is.
_SAY_NOTHING = ("model", "models", "preset", "snapshots", "weights", "/")
_COMMIT = re.compile(r"[0-9a-f]{40}|\d+")


def find(
    backbone: str,
    families: Mapping[str, Row],
    family_of: Callable[[Mapping[str, Any]], str],
    *,
    others: Iterable[str] = (),
    download: bool,
) -> Giant:
    """The preset that is asked for, its folder, and a digest of what is no weights in it.

    Args:
        backbone: the value of `model.backbone`.
        families: those that are read, …
        family_of: … and which of them a `config.json` is of; KeyError for none.
        others: names that could have been meant, too.
    """
    folder = _folder(backbone, families, others, download)
    if folder is None:
        return Giant(backbone, _NOT_THERE)
    config = description(folder)
    try:
        family = family_of(config)
    except KeyError as error:
        theirs = "model_type" in config and "class_name" not in config
        form_of = {name: (row.backbone, row.model_type)[theirs] for name, row in families.items()}
        known = [name for name, own in form_of.items() if own]
        form = "in Hugging Face's form" if theirs else "in KerasHub's form"
        raise Mistake(
            f"model.backbone must be of one of the families {', '.join(known)} where it is {form}, "
            f"got {backbone!r}, which is {error.args[0]}"
        ) from error
    name = f"{_title(folder)} ({family})" if Path(backbone).is_dir() else backbone
    files = [path for path in files_below(folder) if path.suffix in _DESCRIPTIONS]
    named = [path.relative_to(folder).as_posix() for path in files]
    return Giant(name, sha256_of_json([named, sha256_of_each(files)]), folder)


def at_hand(
    families: Mapping[str, Row], family_of: Callable[[Mapping[str, Any]], str]
) -> list[str]:
    """The presets of these families, with weights, that were downloaded before."""
    kaggle = Path(kagglehub.config.get_cache_folder()) / "models"
    found = {
        f"kaggle://{path.parent.parent.relative_to(kaggle).as_posix()}": path.parent
        for path in sorted(kaggle.glob("*/*/*/*/*/config.json"))
    }
    hugging_face = Path(huggingface_hub.constants.HF_HUB_CACHE)
    for path in sorted(hugging_face.glob("models--*/snapshots/*/config.json")):
        name = path.parent.parent.parent.name.removeprefix("models--").replace("--", "/")
        found[f"hf://{name}"] = path.parent

    def is_ours(folder: Path) -> bool:
        try:
            return family_of(description(folder)) in families and any(
                path.name.endswith(_WEIGHTS) for path in files_below(folder)
            )
        except (Mistake, KeyError):
            return False

    return [name for name, folder in found.items() if is_ours(folder)]


def find_weights(config: ModelConfig, giant: Giant) -> Pretrained:
    """The preset's own weights."""
    if config.weights == "imagenet":
        raise Mistake("model.weights must be pretrained, none, pretrain or a file, got 'imagenet'")
    if giant.path is None:
        return Pretrained(_NOT_THERE, f"weights of {giant.name}", published=True)
    files = [path for path in files_below(giant.path) if path.name.endswith(_WEIGHTS)]
    if not files:
        raise Mistake(
            f"model.backbone must hold weights as {' or '.join(_WEIGHTS)}, got {str(giant.path)!r} "
            f"without: say --model.weights none if this is meant"
        )
    return Pretrained(sha256_of_json(sha256_of_each(files)), "the preset's weights", published=True)


def description(folder: Path) -> dict[str, Any]:
    """What its `config.json` says."""
    try:
        found = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise Mistake(
            f"model.backbone must be a preset's folder, with a config.json in it, got "
            f"{str(folder)!r}"
        ) from error
    return found if isinstance(found, dict) else {}


def _folder(
    name: str, families: Mapping[str, Row], others: Iterable[str], download: bool
) -> Path | None:
    """Where the preset called `name` is; None where it would have to be downloaded first."""
    if Path(name).is_dir():
        return Path(name)
    try:
        if name.startswith("hf://"):
            return _from_hugging_face(name, download)
        handle = (name if name.startswith("kaggle://") else _handle(name, families, others))[
            len("kaggle://") :
        ]
        parsed = kagglehub.handle.parse_model_handle(handle)
        if parsed.is_versioned() and (path := kagglehub.cache.Cache().load_from_cache(parsed)):
            return Path(path)
        return Path(kagglehub.model_download(handle)) if download else None
    except Mistake:
        raise
    except Exception as error:  # The hubs' own errors, and those of the network.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise Mistake(
            f"model.backbone must be a preset within reach, got {name!r} ({reason}): download it "
            f"where there is a network, and name its folder with --model.backbone"
        ) from error


def _from_hugging_face(name: str, download: bool) -> Path | None:
    wanted = [f"*{suffix}" for suffix in (*_DESCRIPTIONS, *_WEIGHTS)]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name.removeprefix("hf://"),
                allow_patterns=wanted,
                ignore_patterns=["onnx/*", "openvino/*"],
                local_files_only=not download,
            )
        )
    except huggingface_hub.errors.LocalEntryNotFoundError:
        if download:
            raise
        return None


def _handle(name: str, families: Mapping[str, Row], others: Iterable[str]) -> str:
    """The Kaggle handle of one of KerasHub's own presets, of a family that is read."""
    import_tensorflow()
    presets: dict[str, Any] = {}
    ours = {name: row for name, row in families.items() if row.backbone}
    for row in ours.values():
        presets |= getattr(keras_hub.models, row.backbone).presets
    if name not in presets:
        known = list(others)
        table = "a name in the table of backbones, " if known else ""
        raise Mistake(
            f"model.backbone must be {table}the name of a KerasHub preset of {', '.join(ours)}"
            f", hf://…, kaggle://… or a folder, got {name!r}: {nearest(name, [*known, *presets])}"
        )
    handle: str = presets[name]["kaggle_handle"]
    return handle


def _title(folder: Path) -> str:
    """The folder's name, or that of the nearest one above it that says something."""
    named = [part for part in folder.resolve().parts if part.lower() not in _SAY_NOTHING]
    return next((part for part in reversed(named) if not _COMMIT.fullmatch(part)), folder.name)
