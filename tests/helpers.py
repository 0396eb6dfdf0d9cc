"""Stages called by themselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, TypeVar

import tensorflow_datasets as tfds

from components.artifacts import Artifact, AssembledModel, Examples
from components.assemble import assemble
from components.examples.sources import find_source
from components.ingest import DataConfig, ingest
from components.job import Job
from components.modalities.giants import NO_WEIGHTS, ModelConfig, Pretrained
from components.modalities.table import MODALITIES
from components.section import Views
from components.tasks.learning import Learning
from components.validate import validate
from pipeline.config import Config

A = TypeVar("A", bound=Artifact)
# Everything about the targets as it is by default.
PLAIN = Learning()


def views(modality: str = "image", **augment: Any) -> Views:
    """All that decides the views, by what `augment` and the modality's section say of them."""
    row = MODALITIES[modality]
    own = {name: augment.pop(name) for name in row.view_options if name in augment}
    given = {"data": {"modality": modality}, "augment": augment, row.section: own}
    return Config.model_validate(given).views


def job(directory: Path) -> Job:
    """A job that writes into `directory`, which is made, and has nothing to go on from."""
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory.parent / f".{directory.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return Job(
        directory=directory,
        activations=directory.parent / "activations",
        scratch=scratch,
    )


def ingested(directory: Path, path: Path | str, **config: Any) -> Examples:
    """The examples at `path`, ingested into `directory`."""
    asked = {k: config.pop(k) for k in ("task", "targets") if k in config}
    settings = Config(data=DataConfig(path=str(path), **config), **asked)
    data = settings.data
    source = find_source(
        data.path,
        modality=data.modality,
        columns=settings.columns,
        headings=data.headings,
        root=data.root,
    )
    return ingest(job(directory), source, data)


def assembled(
    directory: Path, examples: Examples, pretrained: Pretrained | None = NO_WEIGHTS, **config: Any
) -> AssembledModel:
    """A model for `examples` in `directory`; with published weights where `pretrained` is None."""
    checks = validate(job(directory / "checks"), examples, None, False)
    row = MODALITIES[examples.modality]
    own = row.config(**{k: config.pop(k) for k in [*config] if k in row.config.model_fields})
    settings = ModelConfig(**config)
    giant = row.giants.find(settings, own, download=False)
    weights = pretrained or row.giants.find_weights(settings, own, giant, download=False)
    return assemble(job(directory / "model"), checks, giant, weights, settings, own, seed=0)


def tfds_of(examples: Examples, split: str) -> Any:
    """What TFDS makes of what we write, whose raw forms are not decoded."""
    return tfds.builder_from_directory(examples.dataset).as_dataset(
        split=split,
        decoders={examples.modality: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
