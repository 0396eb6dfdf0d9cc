"""What a run depends on from outside, resolved once: raw data, weights, the last blessed model."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.assemble import NO_WEIGHTS, ModelConfig, Pretrained
from components.evaluate import ServedModel
from components.export import MANIFEST
from components.files import read_json, sha256, sha256_of_json
from components.ingest import DataConfig, chosen_labels
from components.push import ServingDirectory
from components.sources import Source, find_source
from models import backbones
from models.mistakes import Mistake
from pipeline.config import Config
from pipeline.flow import Outside
from pipeline.records import RunRecord
from pipeline.store import hashed


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how a run takes place; nothing here is hashed.

    Attributes:
        store: the store's directory.
        serving: the serving directory.
        fresh: compute every stage again.
    """

    store: Path
    serving: Path
    fresh: bool = False
    beam_runner: str | None = None
    beam_options: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Request:
    """What was asked for, and all it depends on but the last blessed model."""

    source: Source
    pretrain_source: Source | None
    pretrained: Pretrained | None
    labels: tuple[str, ...]
    digest: str


def resolve_request(config: Config, *, download: bool) -> Request:
    """List and hash the data and the weights.

    Args:
        download: fetch published weights that are not there yet.
    """
    source = _source(config.data, "data")
    pretrain_source = pretrained = None
    if config.model.weights == "pretrain":
        pretrain_source = _source(config.pretrain.data, "pretrain.data")
    else:
        pretrained = _pretrained(config.model, download)
    parts: list[Any] = [config, source, pretrain_source, pretrained]
    labels = chosen_labels(source, config.data)
    digest = sha256_of_json([hashed(part) for part in parts])
    return Request(source, pretrain_source, pretrained, labels, digest)


def resolve(request: Request, runtime: Runtime, earlier: list[RunRecord]) -> Outside:
    """Add the last blessed model, and check that the serving directory can be written."""
    serving = ServingDirectory(runtime.serving)
    _check_writable(runtime.serving)
    blessed = _last_blessed(serving, request.digest, earlier)
    changed = blessed is not None and set(blessed.labels) != set(request.labels)
    return Outside(
        request.source,
        request.pretrain_source,
        request.pretrained,
        blessed,
        blessed.labels if blessed and changed else None,
        serving,
    )


def _last_blessed(
    serving: ServingDirectory, request: str, earlier: list[RunRecord]
) -> ServedModel | None:
    """The model to be compared with: the highest version, unless this very request made it.

    Then it is the one that this request was compared with before: the same command again is
    the same run again, and so is a run that was killed before it could say how it ended.
    """
    versions = serving.versions()
    newest = serving.path / str(versions[-1]) if versions else None
    for record in reversed(earlier):
        if Path(record.serving) != serving.path.resolve():
            continue
        if record.request == request:
            if not record.finished or (newest and record.pushed == str(newest.resolve())):
                newest = Path(record.baseline) if record.baseline else None
            break
        if record.pushed:
            break
    return _served(newest) if newest else None


def _served(path: Path) -> ServedModel | None:
    """A model that we pushed; what somebody else put there is not loaded: it is a program."""
    if not (path / MANIFEST).is_file():
        return None
    manifest = read_json(path / MANIFEST)
    return ServedModel(path.resolve(), sha256(path / MANIFEST), tuple(manifest["labels"]))


def _source(config: DataConfig, section: str) -> Source:
    try:
        return find_source(config.path, modality=config.modality)
    except Mistake as mistake:
        raise Mistake(str(mistake).replace("data.path", f"{section}.path", 1)) from mistake


def _pretrained(config: ModelConfig, download: bool) -> Pretrained:
    if config.weights == "none":
        return NO_WEIGHTS
    if config.weights == "imagenet":
        return _imagenet(config, download)
    path = Path(config.weights)
    if not path.is_file():
        raise Mistake(
            f"model.weights must be imagenet, none, pretrain or a file of weights, got "
            f"{config.weights!r}"
        )
    if not path.name.endswith(".h5"):
        raise Mistake(f"model.weights must be a .weights.h5 or .h5 file, got {config.weights!r}")
    return Pretrained(sha256(path), f"weights from {path.name}", path)


def _imagenet(config: ModelConfig, download: bool) -> Pretrained:
    """Keras's own weights; the files that match are hashed, so that another file is noticed."""
    row = backbones.find_backbone(config.backbone)
    if not row.weights_file:
        raise Mistake(
            f"model.weights must be none, pretrain or a file for {config.backbone}, which has no "
            f"published weights, got 'imagenet'"
        )
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")).expanduser()
    files = sorted((home / "models").glob(row.weights_file))
    if not files and download:
        try:
            backbones.build_backbone(
                config.backbone, input_size=config.input_size, weights="imagenet"
            )
        except Mistake:
            raise
        except Exception as error:  # Whatever the network raises.
            reason = str(error).strip().splitlines()[-1][:160]
            raise Mistake(
                f"model.weights must be reachable, got 'imagenet' for {config.backbone}, whose "
                f"download failed ({reason}): put {row.weights_file} into $KERAS_HOME/models "
                f"(now {home / 'models'}) or name a file with --model.weights"
            ) from error
        files = sorted((home / "models").glob(row.weights_file))
    digest = sha256_of_json([row.weights_file, [sha256(path) for path in files]])
    return Pretrained(digest, "ImageNet weights of Keras Applications", imagenet=True)


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
