"""push (TFX: Pusher): a blessed model into the directory that TensorFlow Serving watches."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from components.artifacts import Blessing, ExportedModel, PushedModel
from components.disk import require_room
from components.files import changed, files_below, fsync_directory, fsync_tree
from components.job import Job, stage
from components.served.manifest import MANIFEST, verify_manifest
from models.mistakes import Mistake

# A name that TensorFlow Serving, which looks for integers, passes over.
_INCOMING = ".incoming-"
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True)
class ServingDirectory:
    """Where versions go; a value from outside, known by its path."""

    path: Path

    @property
    def digest(self) -> str:
        return str(self.path.resolve())

    def versions(self) -> list[int]:
        """The versions that are there, in ascending order."""
        if not self.path.is_dir():
            return []
        return sorted(int(path.name) for path in self.path.iterdir() if path.name.isdecimal())


@stage(version=1, plain=True)
def push(
    job: Job, model: ExportedModel, blessing: Blessing, serving: ServingDirectory
) -> PushedModel:
    """Put a blessed model into `serving` as its highest version, in one rename.

    The server takes the largest integer, so a version must never be half there: it is copied
    beside, made durable, checked against its manifest, renamed, and checked again.
    """
    if not blessing.blessed:
        reason = "It was not blessed, so nothing was pushed."
        skipped = {"skipped": True}
        return PushedModel(directory=job.directory, path=None, reason=reason, stats=skipped)
    serving.path.mkdir(parents=True, exist_ok=True)
    if already := _already_served(model, serving):
        reason = f"It is served already, as version {already.name}."
        stats = {"version": int(already.name), "path": str(already), "already": True}
        return PushedModel(directory=job.directory, path=already, reason=reason, stats=stats)
    _clear_up(serving)
    needed = sum(path.stat().st_size for path in files_below(model.path))
    require_room(serving.path, needed, "the model to be pushed")
    incoming = serving.path / f"{_INCOMING}{uuid.uuid4().hex}"
    try:
        shutil.copytree(model.path, incoming)
        os.utime(incoming)
        verify_manifest(incoming)
        fsync_tree(incoming)
        version = _rename_to_next_version(incoming, serving)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    try:
        verify_manifest(version)
    except Mistake:
        version.rename(serving.path / f"{_INCOMING}broken-{uuid.uuid4().hex}")
        raise
    return PushedModel(
        directory=job.directory,
        path=version,
        reason=f"Pushed as version {version.name}.",
        stats={"version": int(version.name), "path": str(version)},
    )


def _already_served(model: ExportedModel, serving: ServingDirectory) -> Path | None:
    """The highest version, if it is this very model: nothing is pushed twice."""
    versions = serving.versions()
    if not versions:
        return None
    newest = serving.path / str(versions[-1])
    try:
        same = (newest / MANIFEST).read_bytes() == (model.path / MANIFEST).read_bytes()
        return newest if same and not changed(newest, MANIFEST) else None
    except (OSError, ValueError):  # What is damaged is superseded.
        return None


def _clear_up(serving: ServingDirectory) -> None:
    """Remove what a push that was killed left behind, if it is too old to be going on."""
    for left in serving.path.glob(f"{_INCOMING}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _rename_to_next_version(incoming: Path, serving: ServingDirectory) -> Path:
    while True:
        version = serving.path / str(max(serving.versions(), default=0) + 1)
        try:
            incoming.rename(version)
        except OSError:
            if not version.exists():
                raise
            continue  # Somebody else pushed in this moment: the number after that, then.
        fsync_directory(serving.path)
        return version
