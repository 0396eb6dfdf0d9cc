"""The flow as a pipeline of Kubeflow: one task a stage, through kfp's own compiler and client.

Annotations are not postponed in this module: kfp reads those of the tasks' functions.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etils import epy

from components.examples.sources import is_place
from models.mistakes import Mistake, nearest
from pipeline.cluster.work import Asked
from pipeline.config import Config
from pipeline.interpreters.trace import Node, trace
from pipeline.runtime import RuntimeConfig, StageConfig

with epy.lazy_imports():
    import kfp
    import kfp_server_api
    import urllib3
    from kfp import compiler, components, dsl, kubernetes, local

# Where libraries keep what they have downloaded: the task that begins a run does it for all.
DOWNLOADS = {
    "KERAS_HOME": "keras",
    "KAGGLEHUB_CACHE": "kagglehub",
    "HF_HOME": "huggingface",
    "TFDS_DATA_DIR": "tfds",
}
# Vertex AI mounts every bucket here.
BUCKETS = Path("/gcs")


@dataclass(frozen=True)
class Target:
    """What a pipeline can be compiled for.

    Attributes:
        accelerators: what they are called there.
        volumes: tasks share a volume; else what is below `shared`.
        shared: the folder that all tasks see; None where that is what the machine has.
    """

    accelerators: tuple[str, ...]
    volumes: bool = False
    shared: Path | None = None


TARGETS = {
    "kubeflow": Target(
        accelerators=("nvidia.com/gpu", "google.com/tpu", "amd.com/gpu", "intel.com/gpu"),
        volumes=True,
    ),
    # The names of Vertex AI's AcceleratorType.
    "vertex": Target(
        accelerators=(
            *("NVIDIA_L4", "NVIDIA_TESLA_T4", "NVIDIA_TESLA_P4", "NVIDIA_TESLA_P100"),
            *("NVIDIA_TESLA_V100", "NVIDIA_TESLA_A100", "NVIDIA_A100_80GB", "NVIDIA_H100_80GB"),
            *("NVIDIA_H100_MEGA_80GB", "NVIDIA_H200_141GB", "NVIDIA_B200"),
            *("TPU_V2", "TPU_V3", "TPU_V4_POD", "TPU_V5_LITEPOD"),
        ),
        shared=BUCKETS,
    ),
    "local": Target(accelerators=()),
}


def compile_pipeline(
    recipe: str, config: Config, store: str, serving_dir: str | None, output: Path, *, fresh: bool
) -> None:
    """Write the flow as kfp's intermediate representation, YAML, to `output`.

    Every task finds the artifacts of the others in the store, and reuse is the store's: Kubeflow's
    own cache, which does not see what is in a folder, is off.
    """
    _require_kfp()
    settings = config.runtime
    _check_stages(settings)
    if config.model.finalists > 1:
        raise Mistake(
            f"model.finalists must be 1 on a cluster, whose tasks are known before, got "
            f"{config.model.finalists}: find the giant with advise"
        )
    place = _reachable(store, settings, "--store")
    serving = _reachable(serving_dir, settings, "--serving-dir") if serving_dir else None
    config = _with_places(config)
    asked = Asked(recipe=recipe, config=config, serving_dir=serving, fresh=fresh)
    pipeline = _pipeline(recipe, asked.model_dump_json(), str(place), trace(config), settings)
    if output.suffix not in (".yaml", ".yml"):
        raise Mistake(f"--output must be a .yaml file, got {str(output)!r}")
    try:
        compiler.Compiler().compile(pipeline, str(output))
    except OSError as error:
        raise Mistake(
            f"--output must be a file that can be written, got {str(output)!r}: {error.strerror}"
        ) from error


def submit(package: Path, name: str, settings: RuntimeConfig, host: str, schedule: str) -> str:
    """Start a compiled pipeline once, or at the times of `schedule`; returns what was made.

    Args:
        schedule: cron, of Kubeflow's six fields, the first of which are seconds.
    """
    if settings.target == "vertex":
        raise Mistake(
            "runtime.target must be kubeflow or local to submit, got 'vertex': give the compiled "
            "file to Vertex AI's own client, as google.cloud.aiplatform.PipelineJob"
        )
    if schedule and (settings.target == "local" or len(schedule.split()) != 6):
        raise Mistake(
            f"--schedule must be cron with six fields, the first of which are seconds, and is for "
            f"kubeflow alone, got {schedule!r} for {settings.target}"
        )
    if settings.target == "local":
        return _run_here(package)
    client = _client(host)
    try:
        return _submit(client, package, name, schedule)
    except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Mistake(
            f"--host must be a Kubeflow that takes the pipeline and the schedule {schedule!r}, got "
            f"{host or 'nothing'!r}: {reason}"
        ) from error


def _submit(client: Any, package: Path, name: str, schedule: str) -> str:
    if not schedule:
        run = client.create_run_from_pipeline_package(
            str(package), run_name=name, experiment_name=name, enable_caching=False
        )
        return f"run {run.run_id}"
    experiment = client.create_experiment(name)
    job = client.create_recurring_run(
        experiment_id=experiment.experiment_id,
        job_name=name,
        cron_expression=schedule,
        max_concurrency=1,
        no_catchup=True,  # What a missed run would have done, the next one does.
        pipeline_package_path=str(package),
        enable_caching=False,
    )
    return f"recurring run {job.recurring_run_id}"


def _pipeline(
    recipe: str, asked: str, store: str, nodes: dict[str, Node], settings: RuntimeConfig
) -> Any:
    def pipeline() -> None:
        begun = _task(_begin_run, "begin", settings)(store=store, asked=asked)
        _place(begun, StageConfig(), settings, store)
        tasks: dict[str, Any] = {}
        for node in nodes.values():
            stage = _task(_run_stage, node.name, settings)
            task = stage(store=store, run_id=begun.output, name=node.name)
            task.after(*[tasks[before] for before in node.after])
            _place(task, getattr(settings.stages, node.stage), settings, store)
            tasks[node.name] = task

    pipeline.__annotations__.clear()  # kfp reads "None" as the type of an artifact.
    return dsl.pipeline(name=recipe.replace("_", "-").lower(), description="Shoulders")(pipeline)


def _task(function: Any, name: str, settings: RuntimeConfig) -> Any:
    component = dsl.component(function, base_image=settings.image, install_kfp_package=False)
    component.component_spec.name = name.replace(".", "-").replace("_", "-")
    return component


def _begin_run(store: str, asked: str) -> str:
    """Runs in a task: kfp takes the source of this function alone with it."""
    from pipeline.cluster import work

    return work.begin_run(store, asked)


def _run_stage(store: str, run_id: str, name: str) -> str:
    """Runs in a task, too."""
    from pipeline.cluster import work

    return work.run_stage(store, run_id, name)


def _place(task: Any, wanted: StageConfig, settings: RuntimeConfig, store: str) -> None:
    """Say what a task needs, and where it finds the store."""
    task.set_caching_options(False)
    task.set_retry(wanted.retries, backoff_duration="60s")
    if wanted.cpu:
        task.set_cpu_request(f"{wanted.cpu:g}").set_cpu_limit(f"{wanted.cpu:g}")
    if wanted.memory:
        task.set_memory_request(wanted.memory).set_memory_limit(wanted.memory)
    if wanted.accelerator:
        task.set_accelerator_type(wanted.accelerator).set_accelerator_limit(wanted.accelerators)
    if settings.target == "local":
        return
    for variable, folder in DOWNLOADS.items():
        task.set_env_variable(variable, f"{store}/downloads/{folder}")
    if settings.target == "kubeflow":
        kubernetes.mount_pvc(task, pvc_name=settings.volume, mount_path=settings.mount)
        for label, _, value in (each.partition("=") for each in wanted.node):
            kubernetes.add_node_selector(task, label, value)


def _check_stages(settings: RuntimeConfig) -> None:
    known = TARGETS[settings.target].accelerators
    for name in type(settings.stages).model_fields:
        wanted = getattr(settings.stages, name)
        if wanted.accelerator and wanted.accelerator not in known:
            raise Mistake(
                f"runtime.stages.{name}.accelerator must be one that {settings.target} knows, got "
                f"{wanted.accelerator!r}: {nearest(wanted.accelerator, known) if known else 'none'}"
            )
        if wanted.node and settings.target != "kubeflow":
            raise Mistake(
                f"runtime.stages.{name}.node must be left out for {settings.target}, got "
                f"{wanted.node!r}"
            )


def _reachable(path: str, settings: RuntimeConfig, field: str) -> Path:
    """`path` as the tasks see it; a `Mistake` where they do not."""
    target = TARGETS[settings.target]
    if target.volumes and not settings.volume:
        raise Mistake(
            "runtime.volume must name the volume that all tasks share, got nothing: the store is "
            "on it"
        )
    shared = Path(settings.mount) if target.volumes else target.shared
    place = Path(path)
    if target.shared == BUCKETS and path.startswith("gs://"):
        place = BUCKETS / path.removeprefix("gs://")
    if not place.is_absolute() or (shared and not place.is_relative_to(shared)):
        where = f"below {shared}" if shared else "an absolute path"
        also = " or begin with gs://" if target.shared == BUCKETS else ""
        raise Mistake(
            f"{field} must be {where}{also}, where all tasks of {settings.target} reach it, got "
            f"{path!r}"
        )
    return place


def _with_places(config: Config) -> Config:
    """The config with every path as the tasks see it."""

    def seen(section: Any, field: str, key: str, is_path: Callable[[str], bool]) -> Any:
        value = getattr(section, key)
        if not is_path(value):
            return section
        place = str(_reachable(value, config.runtime, f"{field}.{key}"))
        return section.model_copy(update={key: place})

    model = seen(config.model, "model", "weights", lambda name: name.endswith(".h5"))
    model = seen(model, "model", "backbone", lambda name: Path(name).is_dir())
    changes = {"data": seen(config.data, "data", "path", is_place), "model": model}
    if model.weights == "pretrain":
        data = seen(config.pretrain.data, "pretrain.data", "path", is_place)
        changes["pretrain"] = config.pretrain.model_copy(update={"data": data})
    uri = config.mlflow.tracking_uri
    if uri.startswith(("sqlite:", "file:", "/", ".")):
        _reachable(
            uri.partition("://")[2].removeprefix("/") or uri, config.runtime, "mlflow.tracking_uri"
        )
    return config.model_copy(update=changes)


def _client(host: str) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It says on each start which servers it is for.
            return kfp.Client(host=host or None)
    except Exception as error:  # Of kfp's, of Kubernetes' and of the network's.
        reason = " ".join(str(error).split())[:300] or "no answer"
        raise Mistake(
            f"--host must be Kubeflow Pipelines' API, got {host or 'nothing'!r}: {reason}"
        ) from error


def _run_here(package: Path) -> str:
    """Each task in a process of this machine."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # A task may be anywhere.
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner=runner, pipeline_root=str(package.parent), raise_on_error=True)
    components.load_component_from_file(str(package))()
    return "run on this machine"


def _require_kfp() -> None:
    if find_spec("kfp") is None:
        raise Mistake(
            "runtime.target must have its extra installed, got no kfp: pip install "
            "'.[kubeflow]' installs it"
        )
