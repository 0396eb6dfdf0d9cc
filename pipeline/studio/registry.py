"""The models that were pushed: their versions, what became of each, and what they say."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import read_json, sha256, sha256_of_json
from components.modalities.table import MODALITIES
from components.served.manifest import MANIFEST, targets_of, verify_manifest
from components.served.versions import Entry, ServingDirectory
from components.tasks.protocol import Target
from models.quiet import import_tensorflow
from pipeline import api
from pipeline.records import RunRecord
from pipeline.studio.shelf import Missing, Shelf


@dataclass(frozen=True)
class Version:
    """A version of a model: where it is, what it is, what it reads, and what it says."""

    path: Path
    digest: str
    modality: str
    targets: tuple[Target, ...]


class Registry:
    """The serving directories of a store, and those elsewhere that its runs have pushed to."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._verified: dict[Path, str] = {}
        # TensorFlow is imported once, and a model loaded once.
        self._lock = threading.Lock()

    def models(self) -> list[dict[str, Any]]:
        """A row a model, with a row a version, the highest first."""
        records = self._shelf.records()
        rows = []
        for identity, serving in sorted(self._directories(records).items()):
            by = {record.pushed: record for record in records if record.pushed}
            versions = _versions(serving, by)
            if versions:
                place = str(serving.path)
                rows.append({"model": identity, "place": place, "versions": versions})
        return rows

    def ask(self, identity: str, number: int, raw: bytes) -> dict[str, Any]:
        """What a version says of an example, through the signature that is served.

        Raises:
            Missing: there is no such version.
            Mistake: it is not what was written.
        """
        from components.served.opening import Opened
        from components.served.predict import Prediction

        with self.open(identity, number) as version:
            opened = Opened(version.path, version.modality, version.targets)
            (answered,) = opened.ask([raw]).said()
        told = Prediction("", version.targets, *answered).as_json()
        return {"version": number, **{k: v for k, v in told.items() if k != "input"}}

    @contextlib.contextmanager
    def open(self, identity: str, number: int) -> Iterator[Version]:
        """A version that is whole, for one at a time to ask.

        Raises:
            Missing: there is no such version.
            Mistake: it is not what was written.
        """
        path = self._version(identity, number)
        with self._lock:
            manifest = self._manifest(path)
            import_tensorflow()
            yield Version(path, self._verified[path], manifest["modality"], targets_of(manifest))

    def run_of(self, identity: str, number: int) -> RunRecord | None:
        """The run that has made a version, where its record is there.

        Raises:
            Missing: there is no such version.
        """
        serving = self._having(identity, number)
        path = serving.version(_made_as(_ways_back(serving), number))
        pushed = {str(path), str(path.resolve())}
        records = self._shelf.records()
        made = (record for record in records if record.pushed in pushed and record.stages)
        return next(made, None)

    def check(self, identity: str, number: int) -> int:
        """How many golden examples a version says the same of as when it was exported.

        Raises:
            Missing: there is no such version.
            Mistake: it says something else of one, or is not what was written.
        """
        path = self._version(identity, number)
        with self._lock:
            return api.load(path).check()

    def roll_back(self, identity: str, to: int, reason: str) -> int:
        """Publish an earlier version again, as the next one; see `api.rollback`.

        Raises:
            Missing: there is no such version.
            Mistake: it is not what was written; or no reason is given.
        """
        place = self._having(identity, to).path
        return int(api.rollback(place, to, reason, store=self._shelf.store.root).name)

    def _directories(self, records: list[RunRecord]) -> dict[str, ServingDirectory]:
        """By a name that an address can have."""
        inside = self._shelf.store.root / "serving"
        found = {path.name: path for path in inside.glob("*") if path.is_dir()}
        for place in {record.serving for record in records}:
            path = Path(place)
            if path.parent.resolve() != inside.resolve():
                found[f"{path.name}-{sha256_of_json(place)[:8]}"] = path
        return {name: ServingDirectory(path) for name, path in found.items()}

    def _having(self, identity: str, number: int) -> ServingDirectory:
        """The serving directory that has a version."""
        serving = self._directories(self._shelf.records()).get(identity)
        if serving is None or number not in serving.versions():
            raise Missing(f"there is no version {number} of {identity!r}")
        return serving

    def _version(self, identity: str, number: int) -> Path:
        return self._having(identity, number).version(number).resolve()

    def _manifest(self, path: Path) -> dict[str, Any]:
        """Verified once while it is the same."""
        digest = sha256(path / MANIFEST)
        if self._verified.get(path) == digest:
            known: dict[str, Any] = read_json(path / MANIFEST)
            return known
        manifest = verify_manifest(path)
        self._verified[path] = digest
        return manifest


def _ways_back(serving: ServingDirectory) -> dict[int, int]:
    """A version that is an earlier one once more → that."""
    return {entry.version: entry.to for entry in serving.journal() if entry.version and entry.to}


def _made_as(back: Mapping[int, int], number: int) -> int:
    """The version that a run has pushed, which this one is."""
    while back.get(number, number) < number:
        number = back[number]
    return number


def _versions(serving: ServingDirectory, by: Mapping[str, RunRecord]) -> list[dict[str, Any]]:
    entries = {entry.version: entry for entry in serving.journal() if entry.version}
    there, back = serving.versions(), _ways_back(serving)
    rows = []
    for number in reversed(there):
        path = serving.version(number)
        made = serving.version(_made_as(back, number))
        record = by.get(str(made)) or by.get(str(made.resolve()))
        rows.append(
            {
                "version": number,
                "served": number == there[-1],
                "run_id": record.run_id if record else None,
                "figures": record.figures if record else {},
                **_of_manifest(path),
                **_of_entry(entries.get(number)),
            }
        )
    return rows


def _of_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path / MANIFEST)
        labels = [label for target in targets_of(manifest) for label in target.space.labels]
        modality = manifest["modality"]
        plural = MODALITIES[modality].raw.plural
    except (OSError, ValueError, KeyError, TypeError):
        return {"damaged": True, "modality": None, "reads": "", "labels": []}
    return {"damaged": False, "modality": modality, "reads": plural, "labels": labels[:1000]}


def _of_entry(entry: Entry | None) -> dict[str, Any]:
    """What the journal says of a version."""
    if entry is None:
        return {"became": "", "time": None, "reason": ""}
    reason = f"back to version {entry.to}: {entry.reason}" if entry.to else ""
    return {"became": entry.what, "time": entry.time, "reason": reason}
