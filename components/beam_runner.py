"""Beam's runners: which one is asked for, and whether it can be had."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners import runner

from components.job import BeamConfig
from models.mistakes import Mistake, nearest

# What a runner imports when it runs, and the extra of apache-beam that brings it.
_NEEDS = {
    "dataflowrunner": ("apitools", "gcp"),
    "daskrunner": ("dask", "dask"),
    "interactiverunner": ("IPython", "interactive"),
}


def options(config: BeamConfig) -> PipelineOptions:
    """Beam's own options."""
    return PipelineOptions(list(config.options))


def pipeline(config: BeamConfig) -> Any:
    """A Beam pipeline, to be used in a `with` block, which runs it."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    return beam.Pipeline(runner=config.runner, options=options(config))


def check(config: BeamConfig) -> None:
    """A `Mistake` where the runner is none of Beam's, or lacks what it needs."""
    if config.runner is None:
        return
    name = config.runner.lower()
    module, extra = _NEEDS.get(name.rpartition(".")[2], ("apache_beam", ""))
    if find_spec(module) is None:
        raise Mistake(
            f"beam.runner must be installed, got {config.runner!r}: pip install "
            f"'apache-beam[{extra}]' installs it"
        )
    try:
        runner.create_runner(config.runner)
    except (ValueError, ImportError, AttributeError) as error:
        known = sorted(each.rpartition(".")[2] for each in runner._RUNNER_MAP.values())
        raise Mistake(
            f"beam.runner must be a Beam runner, got {config.runner!r}: "
            f"{nearest(config.runner, known)}"
        ) from error
