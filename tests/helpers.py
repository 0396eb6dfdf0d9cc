"""Stages called by themselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, TypeVar

from components.artifacts import Artifact, AssembledModel, Examples
from components.assemble import assemble
from components.examples.sources import find_source
from components.ingest import DataConfig, ingest
from components.job import Job
from components.modalities.giants import NO_WEIGHTS, ModelConfig, Pretrained
from components.modalities.table import MODALITIES
from components.validate import validate

A = TypeVar("A", bound=Artifact)


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
        progress=lambda *_: None,
    )


def ingested(directory: Path, path: Path | str, **config: Any) -> Examples:
    """The examples at `path`, ingested into `directory`."""
    data = DataConfig(path=str(path), **config)
    return ingest(job(directory), find_source(data.path, modality=data.modality), data)


def assembled(
    directory: Path, examples: Examples, pretrained: Pretrained | None = NO_WEIGHTS, **config: Any
) -> AssembledModel:
    """A model for `examples` in `directory`; with published weights where `pretrained` is None."""
    checks = validate(job(directory / "checks"), examples, None, False)
    settings, row = ModelConfig(**config), MODALITIES[examples.modality]
    giant = row.find(settings, download=False)
    weights = pretrained or row.find_weights(settings, giant, download=False)
    return assemble(job(directory / "model"), checks, giant, weights, settings, seed=0)
