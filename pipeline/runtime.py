"""Where and how a run takes place. Nothing here is hashed: it must not change what comes out."""

from __future__ import annotations

import os
import pkgutil
import re
import typing
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from cyclopts import Parameter
from pydantic import Field, ValidationInfo, create_model, field_validator, model_validator

import components
from components.job import Job
from components.section import BeamConfig, Section, seconds_of
from models.mistakes import Mistake
from pipeline.hosts import Hosts, hosts_of
from pipeline.processes import TENSORFLOW, Work

# What $KERAS_BACKEND was before this process had to have TensorFlow.
_ASKED = "SHOULDERS_KERAS_BACKEND"
Backend = Literal["tensorflow", "jax", "torch"]


class StageConfig(Section):
    """What one stage asks a cluster for."""

    shown_by_default: ClassVar[bool] = False

    cpu: float | None = Field(None, gt=0)
    """CPU cores."""
    memory: str | None = None
    """Memory, such as 8G."""
    accelerator: str = ""
    """What the target calls it: kubeflow nvidia.com/gpu or google.com/tpu, vertex NVIDIA_L4 …"""
    accelerators: int = Field(1, ge=1)
    """How many of it."""
    node: tuple[str, ...] = ()
    """Kubeflow: labels of the nodes that will do, such as cloud.google.com/gke-tpu-topology=2x2."""
    retries: int = Field(2, ge=0)
    """How often it is tried again when its machine fails."""


class _Stages(Section):
    """A section for each stage, of the branches too."""

    shown_by_default: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Here it is known which stage's section is wrong."""
        for name in type(self).model_fields:
            stage: StageConfig = getattr(self, name)
            if stage.memory and not re.fullmatch(r"\d+[KMGT]i?", stage.memory):
                raise Mistake(
                    f"runtime.stages.{name}.memory must be a size such as 8G, got {stage.memory!r}"
                )
            for label in stage.node:
                if not all(label.partition("=")):
                    raise Mistake(
                        f"runtime.stages.{name}.node must be labels, each LABEL=VALUE, got "
                        f"{label!r}"
                    )
        return self


def _stage_names() -> list[str]:
    """`components/` has a module for each stage, and five that all stages share.

    No run has those of advice, and of classes that are added.
    """
    others = {"artifacts", "disk", "files", "job", "section"}
    others |= {"advise", "agree", "appraise", "reclass", "retarget"}
    found = pkgutil.iter_modules(components.__path__)
    return sorted(module.name for module in found if not module.ispkg and module.name not in others)


with warnings.catch_warnings():
    # One stage is called like a method that pydantic had in its first version.
    warnings.filterwarnings("ignore", "Field name .validate. in", UserWarning)
    _FIELDS: Any = {name: (StageConfig, StageConfig()) for name in _stage_names()}
    StagesConfig: type[_Stages] = create_model("StagesConfig", __base__=_Stages, **_FIELDS)


class RuntimeConfig(Section):
    """Where and how a run takes place; the result is the same."""

    backend: Backend | None = None
    """What Keras computes the feature pass and the training with; $KERAS_BACKEND, or TensorFlow,
    where not given."""
    distribution: Literal["none", "data_parallel"] = "none"
    """`data_parallel`: each batch is split over all local devices, and over the hosts that
    $TF_CONFIG or $KERAS_DISTRIBUTION_… tells of, which run the same command."""
    isolate: bool = False
    """Each stage in a process of its own, which gives memory back, the device's too."""
    deadline: str = ""
    """Stop after this time, such as 3h or 1h30m, so that the same command goes on later; on a
    cluster each task has as long."""
    budget: str = ""
    """What fine-tuning with --strategy auto may take in all, such as 30m or 1h: a way that would
    take longer by what is known is not tried."""
    target: Literal["kubeflow", "vertex", "local"] = "kubeflow"
    """What a pipeline is compiled for."""
    image: str = "shoulders:latest"
    """The container image of the stages."""
    volume: str = ""
    """Kubeflow: the persistent volume claim with the store and the data."""
    mount: str = "/mnt/shoulders"
    """Kubeflow: where it is mounted."""
    stages: Annotated[StagesConfig, Parameter(show=False)] = StagesConfig()

    @field_validator("deadline", "budget")
    @classmethod
    def _duration(cls, value: str, info: ValidationInfo) -> str:
        if value and not seconds_of(value):
            raise Mistake(
                f"runtime.{info.field_name} must be a time such as 3h or 1h30m, got {value!r}"
            )
        return value


def choose_backend(config: RuntimeConfig) -> str:
    """The backend that is asked for; from now on this process itself has TensorFlow."""
    asked = os.environ.get("KERAS_BACKEND") or TENSORFLOW
    if asked == TENSORFLOW:  # Or it was we who wrote that.
        asked = os.environ.get(_ASKED) or TENSORFLOW
    os.environ["KERAS_BACKEND"], os.environ[_ASKED] = TENSORFLOW, asked
    chosen = config.backend or asked
    if chosen not in typing.get_args(Backend):
        raise Mistake(
            f"KERAS_BACKEND must be one of {', '.join(typing.get_args(Backend))}, got {chosen!r}"
        )
    if find_spec(chosen) is None:
        raise Mistake(
            f"runtime.backend must be installed, got {chosen!r}: pip install "
            f"'.[{chosen}]' installs it"
        )
    if chosen == "torch" and config.distribution != "none":
        raise Mistake(
            f"runtime.distribution must be none on torch, which Keras does not distribute, got "
            f"{config.distribution!r}"
        )
    return chosen


def choose_hosts(config: RuntimeConfig, backend: str, *, fresh: bool, views: str | int) -> Hosts:
    """The hosts that train together: only this one, where nothing is distributed.

    Args:
        views: see `AugmentConfig`.
    """
    hosts = Hosts() if config.distribution == "none" else hosts_of(backend)
    if hosts.count > 1 and fresh:
        raise Mistake(
            f"--fresh must not be given where hosts wait for what the first one makes, got it "
            f"with {hosts.count} hosts"
        )
    if hosts.count > 1 and views == "fresh":
        raise Mistake("augment.views must be a number where several hosts train, got 'fresh'")
    return hosts


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how a run takes place.

    Attributes:
        store: the store's directory.
        serving: the serving directory.
        fresh: compute every stage again.
        backend: what Keras computes with where a stage lets it choose.
        hosts: that train together.
    """

    store: Path
    serving: Path
    fresh: bool = False
    config: RuntimeConfig
    backend: str
    hosts: Hosts
    beam: BeamConfig

    def work(
        self, stage: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], job: Job
    ) -> Work:
        """A call of `stage`, with what is to compute it: only TensorFlow makes SavedModels."""
        marks: Any = stage
        any_backend: bool = marks.any_backend
        return Work(
            stage,
            args,
            kwargs,
            job,
            backend=self.backend if any_backend else TENSORFLOW,
            distribution=self.config.distribution if any_backend else "none",
            together=marks.trains and self.hosts.count > 1,
        )

    def is_apart(self, work: Work) -> bool:
        """Whether it needs a process of its own: a process has one backend, joins other hosts
        once, and keeps the memory of a GPU."""
        return (self.isolates and not work.plain) or work.backend != TENSORFLOW

    @property
    def isolates(self) -> bool:
        """Whether TensorFlow, too, computes in processes of their own."""
        return self.config.isolate or self.hosts.count > 1
