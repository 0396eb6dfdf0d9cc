"""The versions of a model that answer: loaded while they are there, the new one before the old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.served import opening
from components.served.manifest import MANIFEST, is_version, verify_manifest
from models.mistakes import Mistake

State = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


class Unknown(Exception):
    """There is no such version; says which."""


@dataclass(frozen=True)
class Version:
    """A version, as TensorFlow Serving tells of it.

    Attributes:
        model: as TensorFlow loads it, of one that is AVAILABLE.
        error: why one is not.
    """

    number: int
    path: Path
    state: State
    model: Any = None
    error: str = ""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """By their names."""
        signatures: Mapping[str, Any] = self.model.signatures
        return signatures


@dataclass(frozen=True)
class Policy:
    """Which versions are loaded.

    Attributes:
        latest: so many of the highest; 0 for all.
        specific: these, where there are any, and no others.
    """

    latest: int = 1
    specific: tuple[int, ...] = ()

    def wanted(self, there: list[int]) -> list[int]:
        """Of those that are there, in ascending order."""
        if self.specific:
            return [number for number in there if number in self.specific]
        return there[-self.latest :] if self.latest else there


class Hosting:
    """The versions in a folder, or one alone.

    Args:
        place: a serving directory, or the directory of a version.
        labels: names that stand for a version.
        say: told what was loaded, and what cannot be.
    """

    def __init__(
        self,
        place: Path,
        *,
        policy: Policy = Policy(),
        labels: Mapping[str, int] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._place, self._policy, self._say = place, policy, say
        self._labels = dict(labels or {})
        self._versions: dict[int, Version] = {}
        self._digests: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Load what is new, and then let go of what is not wanted any more.

        A version that cannot be loaded leaves those that answer as they are; one that is not what
        was written is tried again when it is another one.
        """
        with self._lock:
            there = self._there()
            wanted = self._policy.wanted(sorted(there))
            for number in wanted:
                self._load(number, there[number])
            answering = [v for v in self.states() if v.number in wanted and v.state == "AVAILABLE"]
            for number in [*self._versions]:
                # The last one that answers stays until another one does.
                gone = number not in there
                if number not in wanted and (answering or gone):
                    self._say(f"version {number} is let go of")
                    self._versions = {n: v for n, v in self._versions.items() if n != number}
                    self._digests.pop(number, None)

    def find(self, number: int | None = None, label: str | None = None) -> Version:
        """The version that is asked for, and the highest that answers where none is.

        Raises:
            Unknown: there is none, or it does not answer.
        """
        if label is not None:
            if label not in self._labels:
                raise Unknown(f"unrecognized version label {label}")
            number = self._labels[label]
        versions = self._versions
        if number is None:
            answering = [v for v in versions.values() if v.state == "AVAILABLE"]
            if not answering:
                raise Unknown("no version answers")
            return max(answering, key=lambda version: version.number)
        if number not in versions or versions[number].state != "AVAILABLE":
            raise Unknown(f"version {number} does not answer")
        return versions[number]

    def states(self) -> list[Version]:
        """All that were tried, the highest first."""
        return sorted(self._versions.values(), key=lambda version: -version.number)

    def _there(self) -> dict[int, Path]:
        """Whole versions alone: a name that is no integer is none yet."""
        if (self._place / MANIFEST).is_file():
            name = self._place.resolve().name
            return {int(name) if is_version(name) else 1: self._place}
        found = [path for path in self._place.glob("*") if is_version(path.name)]
        return {int(path.name): path for path in found if (path / MANIFEST).is_file()}

    def _load(self, number: int, path: Path) -> None:
        try:
            digest = (path / MANIFEST).read_bytes()
        except OSError:
            return  # It is being removed.
        if self._digests.get(number) == digest:
            return
        self._digests[number] = digest
        before = self._versions.get(number)
        if before is None:
            self._put(Version(number, path, "LOADING"))
        try:
            manifest = verify_manifest(path)
            # Its golden examples are asked, which is what warms it up.
            model, _ = opening.load(path, manifest["modality"])
        except Exception as error:
            if not isinstance(error, Mistake):
                # It may be that of this machine, such as a full disk: it is tried again.
                self._digests.pop(number)
            if before is None or before.error != str(error):
                self._say(f"version {number} cannot be loaded: {error}")
            if before is None or before.state != "AVAILABLE":
                self._put(Version(number, path, "END", error=str(error)))
            return
        self._put(Version(number, path, "AVAILABLE", model))
        self._say(f"version {number} answers")

    def _put(self, version: Version) -> None:
        # Another dictionary each time: who asks meanwhile has the one before.
        self._versions = self._versions | {version.number: version}
