"""What a model of ours says of itself, and the proof that its files are what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import MANIFEST as MANIFEST
from components.files import changed, read_json
from components.modalities.table import MODALITIES
from components.section import Digested
from components.tasks.protocol import Space, Target
from models.mistakes import Mistake

# TensorFlow Serving's versions are of 64 bits.
LAST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class ServedModel(Digested):
    """A model that was pushed before, resolved before the flow.

    Attributes:
        path: the version's directory.
        digest: of its manifest.
    """

    path: Path
    digest: str
    targets: tuple[Target, ...]


def targets_of(manifest: dict[str, Any]) -> tuple[Target, ...]:
    """What a model answers; one that was written before there were other tasks has one label."""
    if "targets" not in manifest:
        return (Target(task="one_label", space=Space(labels=tuple(manifest["labels"]))),)
    return tuple(Target.model_validate(target) for target in manifest["targets"])


def is_version(name: str) -> bool:
    """Whether a server takes a folder of this name for a version, and it is as we write it."""
    return (
        name.isdecimal() and len(name) < 20 and name == str(int(name)) and int(name) <= LAST_VERSION
    )


def find_model(named: Path, serving: Path) -> Path:
    """A version's directory.

    Args:
        named: it; a serving directory, whose newest version is meant; or a name in `serving`.
    """
    for path in (named, serving / named):
        if (path / MANIFEST).is_file():
            return path
        versions = [each for each in path.glob("*") if is_version(each.name)]
        whole = [each for each in versions if (each / MANIFEST).is_file()]
        if whole:
            return max(whole, key=lambda each: int(each.name))
    names = sorted(p.name for p in serving.glob("*") if p.is_dir()) if serving.is_dir() else []
    there = f"{str(serving)!r} has {', '.join(names)}" if names else f"{str(serving)!r} has none"
    raise Mistake(
        f"MODEL must be the directory of a version, of a model's versions, or a name in the "
        f"store, got {str(named)!r}; {there}"
    )


def verify_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the model at `path`; a `Mistake` if a file is not what it says.

    This finds what was damaged. Whoever can change a model can write a manifest, too: what it
    would do is looked at before it is loaded, see `inspecting`.
    """
    try:
        manifest: dict[str, Any] = read_json(path / MANIFEST)
        wrong = changed(path, MANIFEST)
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} must hold a model with a {MANIFEST} of ours") from error
    if wrong:
        raise Mistake(f"{path} must match its {MANIFEST}, got a changed {', '.join(wrong[:3])}")
    if manifest.get("modality") not in [*MODALITIES]:
        raise Mistake(
            f"{path / MANIFEST} must have one of the modalities {', '.join(MODALITIES)}, got "
            f"{manifest.get('modality')!r}"
        )
    try:
        targets_of(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise Mistake(
            f"{path / MANIFEST} must have targets, or labels, got none of ours"
        ) from error
    return manifest
