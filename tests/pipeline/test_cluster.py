"""The flow on a cluster: what is compiled, submitted, and run as tasks."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.dsl import pipeline_task
from kfp_server_api import ApiException

from pipeline.flow import stage_versions
from pipeline.runtime import StagesConfig
from tests.conftest import ROOT, CommandLine

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _light_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """kfp asks for its caller's name with every source line of the stack.

    With TensorFlow in the process that goes through thousands of modules, 400 times a pipeline.
    """
    light = types.SimpleNamespace(stack=lambda: inspect.stack(0))
    monkeypatch.setattr(pipeline_task, "inspect", light)


def test_every_stage_can_be_given_a_machine() -> None:
    assert {*StagesConfig.model_fields} == {*stage_versions()}


CLUSTER = """
[data]
path = "digits"
[model]
weights = "pretrain"
[pretrain.data]
path = "digits"
[runtime]
volume = "shoulders"
image = "registry/shoulders:1"
[runtime.stages.train_head]
accelerator = "google.com/tpu"
accelerators = 4
node = ["cloud.google.com/gke-tpu-topology=2x2"]
[runtime.stages.fine_tune]
accelerator = "nvidia.com/gpu"
cpu = 4
memory = "16G"
retries = 5
"""


@pytest.fixture
def cluster_recipe(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(CLUSTER)
    return path


def test_a_pipeline_for_kubeflow(in_process: Call, cluster_recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "pipeline.yaml"
    store = ("--store", "/mnt/shoulders/store")
    status, _, err = in_process("compile", cluster_recipe, "-o", output, *store)
    assert status == 0, err
    pipeline, platform = yaml.safe_load_all(output.read_text())
    tasks = pipeline["root"]["dag"]["tasks"]
    assert set(tasks["fine-tune"]["dependentTasks"]) == {"begin", "extract", "train-head"}
    assert "pretrain-train-from-scratch" in tasks["assemble"]["dependentTasks"]
    assert "blessed-evaluate" in tasks["bless"]["dependentTasks"]
    assert not any(task["cachingOptions"].get("enableCache") for task in tasks.values())
    assert tasks["fine-tune"]["retryPolicy"]["maxRetryCount"] == 5
    containers = {
        name: executor["container"]
        for name, executor in pipeline["deploymentSpec"]["executors"].items()
    }
    assert {c["image"] for c in containers.values()} == {"registry/shoulders:1"}
    wanted = containers["exec-fine-tune"]["resources"]
    assert wanted["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert (wanted["resourceCpuLimit"], wanted["resourceMemoryLimit"]) == ("4", "16G")
    tpu = containers["exec-train-head"]["resources"]["accelerator"]
    assert (tpu["resourceType"], tpu["resourceCount"]) == ("google.com/tpu", "4")
    machines = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    labels = machines["exec-train-head"]["nodeSelector"]["labels"]
    assert labels == {"cloud.google.com/gke-tpu-topology": "2x2"}
    assert all(m["pvcMount"][0]["mountPath"] == "/mnt/shoulders" for m in machines.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--runtime.stages.extract.accelerator", "nvidia.com/gpus"),
            "runtime.stages.extract.accelerator must be one that kubeflow knows, got "
            "'nvidia.com/gpus': did you mean nvidia.com/gpu",
        ),
        (("--store", "here"), "--store must be below /mnt/shoulders"),
        (("--data.path", "/data/photos"), "data.path must be below /mnt/shoulders"),
        (("--runtime.volume", ""), "runtime.volume must name the volume"),
        (("--runtime.target", "vertex"), "must be one that vertex knows, got 'nvidia.com/gpu'"),
        (("-o", "pipeline.json"), "--output must be a .yaml file, got 'pipeline.json'"),
        (
            ("--runtime.stages.extract.memory", "lots"),
            "runtime.stages.extract.memory must be a size such as 8G, got 'lots'",
        ),
        (
            ("--mlflow.tracking-uri", "sqlite:///here.db"),
            "mlflow.tracking_uri must be below /mnt/shoulders",
        ),
        (("--runtime.deadline", "soon"), "runtime.deadline must be a time such as 3h"),
    ],
)
def test_what_a_cluster_cannot_do_is_a_mistake(
    in_process: Call, cluster_recipe: Path, arguments: tuple[str, ...], said: str
) -> None:
    usual = () if "--store" in arguments else ("--store", "/mnt/shoulders/store")
    status, _, err = in_process("compile", cluster_recipe, *usual, *arguments)
    assert status == 2
    assert said in err


def test_vertex_has_buckets(in_process: Call, tmp_path: Path) -> None:
    output = tmp_path / "pipeline.yaml"
    where = ("--runtime.target", "vertex", "--store", "gs://bucket/store")
    gpu = ("--runtime.stages.fine-tune.accelerator", "NVIDIA_L4")
    status, _, err = in_process("compile", "digits", "-o", output, *where, *gpu)
    assert status == 0, err
    (pipeline,) = yaml.safe_load_all(output.read_text())
    inputs = pipeline["root"]["dag"]["tasks"]["bless"]["inputs"]["parameters"]
    assert inputs["store"]["runtimeValue"]["constant"] == "/gcs/bucket/store"


def test_submit(in_process: Call, cluster_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, or on a schedule on which no two runs are at work at the same time."""
    called: dict[str, Any] = {}

    class Client:
        def __init__(self, host: str | None) -> None:
            called["host"] = host

        def create_run_from_pipeline_package(self, package: str, **given: Any) -> Any:
            called["once"] = yaml.safe_load_all(Path(package).read_text()), given
            return types.SimpleNamespace(run_id="r1")

        def create_experiment(self, name: str) -> Any:
            return types.SimpleNamespace(experiment_id=name)

        def create_recurring_run(self, **given: Any) -> Any:
            if given["cron_expression"].startswith("9 9"):
                raise ApiException(status=400, reason="Bad Request")
            called["recurring"] = given
            return types.SimpleNamespace(recurring_run_id="r2")

    arguments = ("submit", cluster_recipe, "--store", "/mnt/shoulders/store", "--host", "http://k")
    with monkeypatch.context() as patch:
        patch.setattr("kfp.Client", Client)
        assert in_process(*arguments)[:2] == (0, "run r1\n")
        schedule = ("--schedule", "0 0 3 * * *")
        assert in_process(*arguments, *schedule)[:2] == (0, "recurring run r2\n")
        status, _, err = in_process(*arguments, "--schedule", "9 9 9 9 9 9")
        assert status == 2
        assert "the schedule '9 9 9 9 9 9', got 'http://k': (400) Reason: Bad Request" in err
    assert called["host"] == "http://k"
    assert called["once"][1]["enable_caching"] is False
    recurring = called["recurring"]
    assert recurring["cron_expression"] == "0 0 3 * * *"
    assert (recurring["max_concurrency"], recurring["no_catchup"]) == (1, True)
    status, _, err = in_process(*arguments[:-1], "http://localhost:1")
    assert status == 2
    assert "--host must be Kubeflow Pipelines' API, got 'http://localhost:1'" in err
    status, _, err = in_process(*arguments, "--runtime.target", "vertex")
    assert status == 2


@pytest.mark.slow
def test_the_tasks_of_a_cluster_make_what_a_run_makes(
    command_line: CommandLine, tiny_recipe: Path
) -> None:
    """By kfp's own runner of tasks as processes: every artifact has the same digest."""

    def digests() -> dict[str, str]:
        store = command_line.store
        return {
            path.relative_to(store).as_posix(): json.loads(path.read_text())["digest"]
            for path in store.glob("*/*/artifact.json")
        }

    command_line.result(tiny_recipe)
    expected = digests()
    command_line.store.rename(command_line.directory / "of a run")
    where = ("--runtime.target", "local", "--store", command_line.store)
    done = command_line(
        *("submit", tiny_recipe, *where, "--runtime.image", "python:3.11"), PYTHONPATH=str(ROOT)
    )
    assert done.returncode == 0, done.stderr
    assert digests() == expected
    runs = json.loads(command_line("runs", "--store", command_line.store, "--json").stdout)
    assert runs[0]["outcome"] == "pushed"
    assert len(runs[0]["stages"]) == len(expected)
