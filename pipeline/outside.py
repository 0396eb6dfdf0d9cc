"""What a run depends on from outside, resolved once: raw data, weights, the last blessed model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epy

from components import track
from components.examples import patching
from components.examples.hashing import Hashes
from components.examples.patching import Patch
from components.examples.source import Source
from components.examples.sources import find_source
from components.files import sha256, sha256_of_json
from components.ingest import DataConfig, chosen_targets
from components.job import silence
from components.modalities.giants import NO_WEIGHTS, Giant, Pretrained
from components.modalities.table import MODALITIES
from components.report import About
from components.served import signing
from components.served.manifest import MANIFEST, ServedModel, targets_of, verify_manifest
from components.served.versions import ServingDirectory
from components.tasks.protocol import UNKNOWN, Column, Target
from models.mistakes import Mistake
from pipeline.config import Config
from pipeline.flow import Outside, stage_versions
from pipeline.records import RunRecord
from pipeline.runtime import Runtime
from pipeline.showing import departures
from pipeline.store import Store, hashed
from pipeline.warm import warm_start

with epy.lazy_imports():
    from components.on_beam import runner as beam_runner

# The sections of the config that say where and how, and who is told of it; not what.
WHERE = ("beam", "mlflow", "runtime")


@dataclass(frozen=True)
class Request:
    """What was asked for, and all it depends on but the last blessed model."""

    config: Config
    source: Source
    pretrain_source: Source | None
    patch: Patch | None
    giant: Giant
    pretrained: Pretrained | None
    targets: tuple[Target, ...]
    digest: str


def resolve_request(
    config: Config,
    *,
    download: bool,
    digests: Path | None = None,
    say: Callable[[str], None] = silence,
) -> Request:
    """List and hash the data and the weights.

    Args:
        download: fetch published weights that are not there yet.
        digests: where those of files are kept, which then need not be read again.
        say: told what a person should know.
    """
    if config.beam.runner or config.beam.options:
        beam_runner.check(config.beam)
    track.check(config.mlflow)
    signing.check_keys(config.push.sign, config.push.public_key)
    source = _source(config.data, config.columns, "data", download, digests, say)
    targets = chosen_targets(source, config.data)
    patch = _patch(config, targets)
    if config.serve.abstain and any(UNKNOWN in target.space.labels for target in targets):
        raise Mistake(f"serve.abstain must be false where a label is called {UNKNOWN!r}, got true")
    giant = giant_of(config, download=download)
    pretrain_source = pretrained = None
    if config.model.weights == "pretrain":
        pretrain_source = _source(
            config.pretrain.data, config.pretrain_columns, "pretrain.data", download, digests, say
        )
    else:
        pretrained = pretrained_of(config, giant, download=download)
    what = {name: value for name, value in hashed(config).items() if name not in WHERE}
    parts: list[Any] = [
        what,
        config.views,
        config.model.warm_start,
        stage_versions(),
        source,
        pretrain_source,
        patch,
        giant,
        pretrained,
    ]
    digest = sha256_of_json([hashed(part) for part in parts])
    return Request(config, source, pretrain_source, patch, giant, pretrained, targets, digest)


def resolve(
    request: Request,
    runtime: Runtime,
    earlier: list[RunRecord],
    recipe: str,
    run_id: str = "",
    say: Callable[[str], None] = lambda _: None,
    elected: str = "",
) -> Outside:
    """Add the last blessed model, and check that the serving directory can be written.

    Args:
        recipe: its name.
        run_id: of the run; none where there is only a plan.
        say: told what a person should know.
        elected: why it is this giant, where there were several.
    """
    serving = ServingDirectory(runtime.serving)
    _check_writable(runtime.serving)
    key = request.config.push.public_key
    public_key = Path(key) if key else None
    newest = _newest(serving, public_key)
    if damaged := [v for v in serving.versions() if newest is None or v > int(newest.path.name)]:
        told = ", ".join(str(serving.path / str(version)) for version in damaged)
        say(
            f"{told} is not a whole model of ours{', or not signed' if key else ''}: it is no "
            f"baseline, and the next push is above it"
        )
    other = newest is not None and asked_of(newest.targets) != asked_of(request.targets)
    if runtime.fresh:
        blessed = newest
    else:
        blessed = _baseline(newest, request.digest, serving.place, earlier, public_key)
    pretrained, head = request.pretrained, None
    if blessed and request.config.model.warm_start == "blessed":
        pretrained, head = warm_start(
            Store(runtime.store),
            blessed,
            request.giant,
            request.targets,
            by_uncertainty=request.config.learning.by_uncertainty,
        )
    return Outside(
        source=request.source,
        pretrain_source=request.pretrain_source,
        patch=request.patch,
        giant=request.giant,
        small=MODALITIES[request.config.data.modality].giants.small(request.giant),
        pretrained=pretrained,
        head=head,
        blessed=blessed,
        is_first=blessed is None,
        other_targets=newest.targets if newest and other else None,
        serving=serving,
        about=_about(request.config, recipe, run_id, elected),
    )


def _about(config: Config, recipe: str, run_id: str, elected: str) -> About:
    """What the report says of the run."""
    differs = {
        key: value
        for key, value in departures(config).items()
        if key.partition(".")[0] not in WHERE
    }
    known = departures(config, hashed_only=True)
    asked = {key: value for key, value in known.items() if key in differs}
    digest = sha256_of_json([recipe, asked, elected])
    return About(recipe, run_id, differs, digest, elected)


def _baseline(
    newest: ServedModel | None,
    request: str,
    serving: str,
    earlier: list[RunRecord],
    key: Path | None,
) -> ServedModel | None:
    """The model to be compared with: the newest one served, unless this very request made it.

    The same command again is the same run again: it is compared with what it was compared with
    the first time. A run that was killed right after its push has not recorded it. The newest model
    is then taken to be that run's, if no other run claims it and that run was the last one there.
    """
    if newest is None:
        return None
    made = [record for record in earlier if record.pushed == str(newest.path)]
    last = [record for record in earlier if record.serving == serving][-1:]
    for record in reversed(made or [record for record in last if not record.finished]):
        if record.request == request:
            return _served(Path(record.baseline), key) if record.baseline else None
    return newest


def _newest(serving: ServingDirectory, key: Path | None) -> ServedModel | None:
    """The highest version that is a model of ours, signed where there is a key."""
    found = (_served(serving.version(number), key) for number in reversed(serving.versions()))
    return next((model for model in found if model), None)


def _served(path: Path, key: Path | None = None) -> ServedModel | None:
    """The model at `path`, if it has a manifest of ours and is what that says, byte for byte."""
    try:
        targets = targets_of(verify_manifest(path))
        if key:
            signing.verify(path, key)
    except (Mistake, ValueError, KeyError, TypeError):
        return None
    return ServedModel(path.resolve(), sha256(path / MANIFEST), targets)


def _source(
    config: DataConfig,
    columns: tuple[Column, ...],
    section: str,
    download: bool,
    digests: Path | None,
    say: Callable[[str], None],
) -> Source:
    try:
        return find_source(
            config.path,
            modality=config.modality,
            columns=columns,
            headings=config.headings,
            download=download,
            hashes=Hashes(digests, config.read_all, say),
            root=config.root,
        )
    except Mistake as mistake:
        raise Mistake(str(mistake).replace("data.path", f"{section}.path", 1)) from mistake


def _patch(config: Config, targets: tuple[Target, ...]) -> Patch | None:
    if config.pretrain.data.patch:
        raise Mistake(f"pretrain.data.patch must be left out, got {config.pretrain.data.patch[0]}")
    paths = [Path(path) for path in config.data.patch]
    new = config.data.allow_new_labels
    read = patching.read
    return read(paths, targets, config.columns, allow_new_labels=new) if paths else None


def giant_of(config: Config, *, download: bool) -> Giant:
    """The giant that is asked for."""
    giants = MODALITIES[config.data.modality].giants
    return giants.find(config.model, config.own, download=download)


def pretrained_of(config: Config, giant: Giant, *, download: bool) -> Pretrained:
    """Its weights, which an earlier stage does not train."""
    weights = config.model.weights
    if weights == "none":
        return NO_WEIGHTS
    if weights in ("pretrained", "imagenet"):
        find_weights = MODALITIES[config.data.modality].giants.find_weights
        return find_weights(config.model, config.own, giant, download=download)
    path = Path(weights)
    if not path.is_file():
        raise Mistake(
            f"model.weights must be pretrained, imagenet, none, pretrain or a file of weights, got "
            f"{weights!r}"
        )
    if not path.name.endswith(".h5"):
        raise Mistake(f"model.weights must be a .weights.h5 or .h5 file, got {weights!r}")
    return Pretrained(sha256(path), f"weights from {path.name}", path)


def asked_of(targets: tuple[Target, ...]) -> dict[str, tuple[str, frozenset[str]]]:
    """What of targets must not differ between a model and the next: numbers may change."""
    return {t.name: (t.task, frozenset(t.space.labels)) for t in targets}


def _check_writable(directory: Path) -> None:
    """The nearest folder that exists must take new files; nothing is left in it."""
    existing = next(path for path in [directory, *directory.absolute().parents] if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise Mistake(
            f"--serving-dir must be a directory that can be written, got {str(directory)!r}: "
            f"{error.strerror}"
        ) from error
