"""Beam's runners: which one is asked for, and whether it can be had."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import runner

from components.section import BeamConfig
from models.mistakes import Mistake, nearest

T = TypeVar("T")

# A job is tried so often.
TRIES = 3
# What a runner imports when it runs, and the extra of apache-beam that brings it.
_NEEDS = {
    "dataflowrunner": ("apitools", "gcp"),
    "daskrunner": ("dask", "dask"),
    "interactiverunner": ("IPython", "interactive"),
}


def options(config: BeamConfig) -> PipelineOptions:
    """Beam's own options; workers are as quiet as we are, unless they are told otherwise."""
    quiet = ["--default_sdk_harness_log_level=ERROR"]
    return PipelineOptions([*quiet, *config.options])


def run(config: BeamConfig, build: Callable[[Any], None]) -> None:
    """Run the pipeline that `build` makes of an empty one.

    Args:
        build: what it computes must be the same however often it is computed, and what was computed
            already found again: see `again`.
    """

    def once() -> None:
        with beam.Pipeline(runner=config.runner, options=options(config)) as pipeline:
            build(pipeline)

    again(once)


def again(job: Callable[[], T]) -> T:
    """What `job` gives; where a job on other machines fails, it is tried again.

    Most runners try lost workers' bundles again by themselves; Beam's own job service gives up.
    """
    for logger in ("apache_beam", "root"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    for left in reversed(range(TRIES)):
        try:
            return job()
        except (RuntimeError, OSError):
            if not left:
                raise
            logging.getLogger(__name__).warning("a Beam job failed, and is tried again")
    raise AssertionError("the last try raises or returns")


def check(config: BeamConfig) -> None:
    """A `Mistake` where the runner is none of Beam's, or lacks what it needs."""
    if config.runner is None:
        if config.options:
            raise Mistake(f"beam.options must come with beam.runner, got {config.options} alone")
        return
    name = config.runner.lower()
    module, extra = _NEEDS.get(name.rpartition(".")[2], ("apache_beam", ""))
    if find_spec(module) is None:
        raise Mistake(
            f"beam.runner must be installed, got {config.runner!r}: pip install "
            f"'apache-beam[{extra}]' installs it"
        )
    try:
        found = runner.create_runner(config.runner)
    except (ValueError, ImportError, AttributeError) as error:
        known = sorted(each.rpartition(".")[2] for each in runner._RUNNER_MAP.values())
        raise Mistake(
            f"beam.runner must be a Beam runner, got {config.runner!r}: "
            f"{nearest(config.runner, known)}"
        ) from error
    wrong = PipelineOptionsValidator(options(config), found).validate()
    if wrong:
        raise Mistake(f"beam.options must suit {config.runner}, got {config.options}: {wrong[0]}")
