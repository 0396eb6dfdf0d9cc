"""What a store that is trained every night can do without: artifacts of runs of long ago."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import files_below
from components.served.manifest import MANIFEST
from components.served.versions import ServingDirectory
from pipeline.boards import CURVES
from pipeline.flow import stage_versions
from pipeline.records import RunRecord, past_runs
from pipeline.store import Store, read_manifest


@dataclass(frozen=True)
class Old:
    """An artifact, or what is left of one, that no run which is kept refers to."""

    ref: str
    path: Path
    bytes: int


def old_artifacts(store: Store, keep: int) -> list[Old]:
    """All that is needed neither by the last `keep` runs of each recipe nor by what is served.

    The run whose model is served is kept however old it is: the next one is compared with it, and
    may go on from its weights.
    """
    kept = _kept(past_runs(store.runs), keep)
    wanted = {s["artifact"] for run in kept for s in run.stages if s.get("artifact")}
    used = _referred_to(store, wanted)
    found = []
    for stage in sorted(stage_versions()):
        for path in sorted((store.root / stage).glob("*/")):
            ref = f"{stage}/{path.name}"
            if ref not in used:
                size = sum(file.stat().st_size for file in files_below(path))
                found.append(Old(ref, path, size))
    return found


def remove(store: Store, old: list[Old], keep: int) -> None:
    """Remove them from the disk, and the curves and events of their runs; the records stay."""
    for each in old:
        # First, so that it is never half there.
        (each.path / "artifact.json").unlink(missing_ok=True)
        shutil.rmtree(each.path, ignore_errors=True)
    names = {run.run_id for run in _kept(past_runs(store.runs), keep)}
    for told in (*(store.root / CURVES).glob("*/"), *store.runs.glob("*/")):
        if told.name.split(".")[0] not in names:
            shutil.rmtree(told, ignore_errors=True)


def _kept(runs: list[RunRecord], keep: int) -> list[RunRecord]:
    """Args: runs: the oldest first."""
    by_recipe: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        by_recipe[run.recipe].append(run)
    last = {run.run_id for own in by_recipe.values() for run in own[-keep:]}
    return [run for run in runs if run.run_id in last or _is_served(run)]


def _is_served(run: RunRecord) -> bool:
    """Whether what it pushed is the highest version, or the same as that, after a rollback."""
    if not run.pushed:
        return False
    serving = ServingDirectory(Path(run.pushed).parent)
    manifests = [serving.version(number) / MANIFEST for number in serving.versions()[-1:]]
    with suppress(OSError):
        own = (Path(run.pushed) / MANIFEST).read_bytes()
        return any(newest.read_bytes() == own for newest in manifests)
    return False


def _referred_to(store: Store, wanted: set[str]) -> set[str]:
    """Artifacts, and those that they are made of, and so on."""
    found: set[str] = set()
    left = list(wanted)
    while left:
        ref = left.pop()
        if ref in found:
            continue
        found.add(ref)
        with suppress(OSError, ValueError):  # It is gone, or damaged, and is made again.
            left += _references(read_manifest(store.root / ref)["facts"])
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$artifact"), str):
            yield value["$artifact"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
