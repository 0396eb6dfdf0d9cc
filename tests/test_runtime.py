"""Where and how a run takes place: processes, clusters, deadlines, logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts import Blessing
from components.job import Job, stage
from models.mistakes import Mistake
from pipeline import stopping
from pipeline.flow import stage_versions
from pipeline.processes import Work, do_apart
from pipeline.runtime import StagesConfig
from tests.conftest import ROOT, CommandLine
from tests.helpers import job

Call = Callable[..., tuple[int, str, str]]


@stage(version=1)
def fickle(job: Job, how: str) -> Blessing:
    """A stage that works, or makes a mistake, or is killed."""
    if how == "mistake":
        raise Mistake("how must be good, got 'mistake'")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    job.progress("fickle", 1, 2, "half")
    return Blessing(directory=job.directory, blessed=True, reasons=(str(os.getpid()),))


def test_a_stage_in_a_process_of_its_own(tmp_path: Path) -> None:
    """What it returns, tells and raises is as if it ran here; its death is told."""
    told: list[tuple[Any, ...]] = []

    def work(how: str) -> Work:
        given = job(tmp_path / how)
        given = Job(**{**vars(given), "progress": lambda *what: told.append(what)})
        return Work(fickle, (how,), {}, given, backend="tensorflow", distribution="none")

    made = do_apart(work("good"))
    assert isinstance(made, Blessing)
    assert made.reasons != (str(os.getpid()),)
    assert told == [("fickle", 1, 2, "half")]
    with pytest.raises(Mistake, match="how must be good"):
        do_apart(work("mistake"))
    with pytest.raises(RuntimeError, match="fickle must end by itself, got its end with status -9"):
        do_apart(work("killed"))


def test_every_stage_can_be_given_a_machine() -> None:
    assert {*StagesConfig.model_fields} == {*stage_versions()}


@pytest.mark.parametrize(
    ("duration", "seconds"), [("3h", 10800), ("1h30m", 5400), ("45s", 45), ("3x", 0), ("", 0)]
)
def test_durations(duration: str, seconds: int) -> None:
    assert stopping.seconds_of(duration) == seconds


def test_what_is_lost_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is raised in a callback of the garbage collector goes nowhere."""
    monkeypatch.setattr(stopping, "_AGAIN", 0.05)

    def lose_the_first() -> None:
        with contextlib.suppress(stopping.Stopped):
            time.sleep(60)
        time.sleep(60)

    with pytest.raises(stopping.Stopped, match="at the deadline of 1s"), stopping.deadline("1s"):
        lose_the_first()
    time.sleep(0.1)  # And no more, once it is known.


def test_a_deadline_stops_and_json_tells(command_line: CommandLine, tiny_recipe: Path) -> None:
    told = ("--runtime.deadline", "2s", "--log", "json")
    done = command_line.run(tiny_recipe, *told)
    assert done.returncode == 143
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[0]["event"] == "stage began"
    assert lines[-1]["message"].startswith("stopped at the deadline of 2s; run the same command")
    runs = json.loads(command_line("runs", "--store", command_line.store, "--json").stdout)
    assert runs[0]["outcome"] == "stopped"


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
        (("--runtime.target", "vertex"), "must be one that vertex knows, got 'google.com/tpu'"),
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--runtime.backend", "torch"), "pip install '.[torch]' installs it"),
        (("--beam.runner", "DataflowRunner"), "pip install 'apache-beam[gcp]' installs it"),
        (("--beam.runner", "PortablRunner"), "did you mean PortableRunner"),
    ],
)
def test_what_is_not_installed_is_a_mistake(
    in_process: Call, arguments: tuple[str, ...], said: str
) -> None:
    if "torch" in arguments:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.runtime.find_spec", lambda _: None)
            status, _, err = in_process("plan", "digits", *arguments)
    else:
        status, _, err = in_process("plan", "digits", *arguments)
    assert status == 2
    assert said in err


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
            called["recurring"] = given
            return types.SimpleNamespace(recurring_run_id="r2")

    arguments = ("submit", cluster_recipe, "--store", "/mnt/shoulders/store", "--host", "http://k")
    with monkeypatch.context() as patch:
        patch.setattr("kfp.Client", Client)
        assert in_process(*arguments)[:2] == (0, "run r1\n")
        schedule = ("--schedule", "0 0 3 * * *")
        assert in_process(*arguments, *schedule)[:2] == (0, "recurring run r2\n")
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


@pytest.mark.slow
def test_mlflow(command_line: CommandLine, tiny_recipe: Path, photos: Path) -> None:
    """The run, its metrics, and the model under its alias, which answers; the same is told once."""
    uri = f"sqlite:///{command_line.directory / 'mlflow.db'}"
    watched = ("--mlflow.tracking-uri", uri)
    first = command_line.result(tiny_recipe, *watched)
    asked = (
        "import json, sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]);"
        "client = mlflow.MlflowClient(); (run,) = mlflow.search_runs("
        "experiment_names=['shoulders'], output_format='list');"
        "model = mlflow.pyfunc.load_model('models:/shoulders@champion');"
        "answer = model.predict([open(path, 'rb').read() for path in sys.argv[2:]]);"
        "print(json.dumps([run.data.metrics, run.data.params, list(answer['label']),"
        "[a.path for a in client.list_artifacts(run.info.run_id)],"
        "len(client.get_metric_history(run.info.run_id, 'train_head.val_loss'))]))"
    )
    pictures = [str(photos / label / "0.png") for label in ("ant", "bee")]
    done = subprocess.run(
        [sys.executable, "-c", asked, uri, *pictures],
        cwd=command_line.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    metrics, parameters, labels, files, epochs = json.loads(done.stdout.splitlines()[-1])
    assert metrics["test_accuracy"] == pytest.approx(first["metrics"]["test"]["accuracy"])
    assert parameters["train_head.learning_rate"] == "0.01"
    assert set(labels) <= {"ant", "bee"}
    assert "report.html" in files
    trained = next(s["stats"] for s in first["stages"] if s["name"] == "train_head")
    assert epochs == trained["epochs"]
    again = command_line.result(tiny_recipe, *watched)
    assert {s["status"] for s in again["stages"]} == {"reused"}
    refused = command_line.run(tiny_recipe, "--mlflow.tracking-uri", "nonsense://x")
    assert refused.returncode == 2
    assert "mlflow.tracking_uri must be a server that takes runs" in refused.stderr


@pytest.mark.slow
def test_warm_start(command_line: CommandLine, tiny_recipe: Path, photos: Path) -> None:
    """The first run has nothing to go on from; the next one does, and the same again is reused."""
    warm = ("--model.warm-start", "blessed")
    first = command_line.result(tiny_recipe, *warm)
    assert [s["status"] for s in first["stages"] if s["name"] == "train_head"] == ["ran"]
    for label in ("ant", "bee"):
        (photos / label / "new.png").write_bytes((photos / label / "0.png").read_bytes() + b"\0")
    second = command_line.result(tiny_recipe, *warm)
    stages = {s["name"]: s for s in second["stages"]}
    assert stages["train_head"]["status"] == "skipped"
    assert stages["extract"]["stats"]["computed"] <= 2
    assert "blessed.evaluate" in stages
    assert Path(second["pushed"]).name == "2"
    again = command_line.result(tiny_recipe, *warm)
    assert {s["status"] for s in again["stages"]} <= {"reused", "skipped"}

    other = command_line.run(tiny_recipe, *warm, "--model.backbone", "MobileNetV2")
    assert other.returncode == 2
    assert "model.warm_start must be of a model with the backbone MobileNetV2" in other.stderr
    (photos / "bee").rename(photos / "wasp")
    labels = command_line.run(tiny_recipe, *warm, "--data.allow-new-labels")
    assert labels.returncode == 2
    assert "model.warm_start must be of a model with the labels ant, wasp" in labels.stderr
