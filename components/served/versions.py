"""The versions of a model, in the directory that TensorFlow Serving watches.

```
SERVING/
    7/                   a version: whole, or not there
    .versions.jsonl      what became of which: pushed, rolled back and why, removed
    .lock                held by who is at work there
    .incoming-…/         a version that is being copied; a server passes over such names
```
"""

from __future__ import annotations

import os
import platform
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.disk import require_room
from components.files import (
    changed,
    files_below,
    fsync_directory,
    fsync_tree,
    sha256,
    sha256_of_json,
)
from components.section import Digested
from components.served import signing
from components.served.manifest import LAST_VERSION, MANIFEST, is_version, verify_manifest
from models.mistakes import Mistake

JOURNAL, LOCK = ".versions.jsonl", ".lock"
PUSHED, ROLLED_BACK, REMOVED = "pushed", "rolled back", "removed"
# Names that TensorFlow Serving, which looks for integers, passes over.
_INCOMING, _OUTGOING = ".incoming-", ".removed-"
# What another host left is not known to be abandoned before.
_ABANDONED_SECONDS = 3600


class Entry(BaseModel):
    """A line of the journal: what became of a version.

    Attributes:
        manifest: the sha256 of its manifest.
        to: the version that a person went back to, and why, …
        withdrawn: … and the manifests of the models that were gone back from.
    """

    model_config = ConfigDict(frozen=True)

    what: str
    time: str = "an unknown day"
    version: int | None = Field(None, ge=1, le=LAST_VERSION)
    manifest: str = ""
    to: int | None = None
    reason: str = "no reason was given"
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServingDirectory(Digested):
    """Where versions go; a value from outside, known by its place and what a person did there."""

    path: Path

    @property
    def place(self) -> str:
        return str(self.path.resolve())

    @property
    def digest(self) -> str:  # type: ignore[override]
        """Whenever somebody went back to a version, what is to be pushed is asked again."""
        back = [e.model_dump_json() for e in self.journal() if e.what == ROLLED_BACK]
        return sha256_of_json([self.place, back])

    def versions(self) -> list[int]:
        """The versions that are there, in ascending order."""
        if not self.path.is_dir():
            return []
        return sorted(int(path.name) for path in self.path.iterdir() if is_version(path.name))

    def version(self, number: int) -> Path:
        return self.path / str(number)

    def journal(self) -> list[Entry]:
        """What became of the versions, the earliest first; damaged lines are passed over."""
        try:
            lines = (self.path / JOURNAL).read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            with suppress(ValidationError):
                found.append(Entry.model_validate_json(line))
        return found

    def withdrawn(self) -> dict[str, Entry]:
        """The sha256 of the manifest of each model that a person went back from → when and why.

        It is not pushed again by itself; one that a person goes back to is withdrawn no longer.
        """
        found: dict[str, Entry] = {}
        for entry in self.journal():
            found.pop(entry.manifest, None)
            found |= dict.fromkeys(entry.withdrawn, entry)
        return found

    def gone(self, model: Path) -> int | None:
        """The last version that was this very model and that somebody has removed by hand."""
        digest, there = sha256(model / MANIFEST), {*self.versions()}
        last = {entry.version: entry for entry in self.journal() if entry.version}
        mine = [n for n, e in last.items() if e.manifest == digest and e.what != REMOVED]
        return max((n for n in mine if n not in there), default=None)

    def holds(self, model: Path) -> Path | None:
        """The highest version, if it is this very model: nothing is pushed twice."""
        if not (versions := self.versions()):
            return None
        newest = self.version(versions[-1])
        try:
            same = (newest / MANIFEST).read_bytes() == (model / MANIFEST).read_bytes()
            return newest if same and not changed(newest, MANIFEST) else None
        except (OSError, ValueError):  # What is damaged is superseded.
            return None

    def put(self, model: Path, what: str = PUSHED, key: Path | None = None, **said: Any) -> Path:
        """Copy a model here as the highest version, in one rename.

        The server takes the largest integer, so a version must never be half there: it is copied
        beside, made durable, checked against its manifest, renamed, and checked again. Its number
        is above all that there were, whatever the clock says and whoever removed them.

        Args:
            key: to sign it with, where it is to be signed.
            what: it is, for the journal …
            said: … and more of that.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.clear_up()
        needed = sum(path.stat().st_size for path in files_below(model))
        require_room(self.path, needed, "the model to be pushed")
        incoming = self.path / f"{_INCOMING}{platform.node()}-{os.getpid()}-{uuid.uuid4().hex}"
        try:
            shutil.copytree(model, incoming)
            os.utime(incoming)
            verify_manifest(incoming)
            if key:
                signing.sign(incoming, key)
            fsync_tree(incoming)
            version = self._rename(incoming)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        try:
            verify_manifest(version)
        except Mistake:
            version.rename(self.path / f"{_INCOMING}broken-{uuid.uuid4().hex}")
            raise
        digest = sha256(version / MANIFEST)
        self._note(what=what, version=int(version.name), manifest=digest, **said)
        return version

    def trim(self, keep: int, grace: float) -> list[int]:
        """Remove all but the highest versions; those that were.

        Args:
            keep: so many stay, at least 1: the highest is what is served, and the last blessed.
            grace: seconds; a version that is younger stays.
        """
        removed = []
        for number in self.versions()[: -max(1, keep)]:
            version = self.version(number)
            if time.time() - version.stat().st_mtime > grace:
                # In one rename, as it came: a server never sees half of it.
                outgoing = self.path / f"{_OUTGOING}{platform.node()}-{os.getpid()}-{number}"
                version.rename(outgoing)
                self._note(what=REMOVED, version=number)
                shutil.rmtree(outgoing, ignore_errors=True)
                removed.append(number)
        return removed

    def clear_up(self) -> None:
        """Remove what a push or a removal that was killed left behind."""
        for left in [*self.path.glob(f"{_INCOMING}*"), *self.path.glob(f"{_OUTGOING}*")]:
            if _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)

    def _rename(self, incoming: Path) -> Path:
        while True:
            known = [entry.version for entry in self.journal() if entry.version]
            version = self.version(max([*self.versions(), *known], default=0) + 1)
            try:
                incoming.rename(version)
            except OSError:
                if not version.exists():
                    raise
                continue  # Somebody else pushed in this moment: the number after that, then.
            fsync_directory(self.path)
            return version

    def _note(self, **row: Any) -> None:
        """A line of the journal, in one write."""
        entry = Entry(time=time.strftime("%Y-%m-%dT%H:%M:%S%z"), **row)
        with (self.path / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(entry.model_dump_json(exclude_unset=True) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _is_abandoned(left: Path) -> bool:
    """Whether nobody is at work on it: its process is dead, or it is old."""
    host, _, rest = left.name.partition("-")[2].rpartition("-")[0].rpartition("-")
    if host == platform.node() and rest.isdecimal() and not Path(f"/proc/{rest}").exists():
        return True
    return time.time() - left.stat().st_mtime > _ABANDONED_SECONDS
