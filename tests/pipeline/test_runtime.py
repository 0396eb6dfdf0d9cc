"""How a run takes place: processes, backends, deadlines, trackers, and where it begins."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Blessing
from components.job import Job, stage
from components.section import seconds_of
from models.mistakes import Mistake
from pipeline import stopping
from pipeline.processes import Work, do_apart
from pipeline.runtime import RuntimeConfig, choose_backend
from tests.conftest import CommandLine, InProcess
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("duration", "seconds"), [("3h", 10800), ("1h30m", 5400), ("45s", 45), ("3x", 0), ("", 0)]
)
def test_durations(duration: str, seconds: int) -> None:
    assert seconds_of(duration) == seconds


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


def test_a_complaint_of_what_was_left_in_the_middle_is_a_stop() -> None:
    """As TensorFlow's, that graphs were not closed in their order."""
    told = stopping.Stopped()

    def leave() -> None:
        try:
            raise told
        finally:
            assert [] == [1], "Nesting violated"

    with pytest.raises(AssertionError, match="Nesting violated") as complaint:
        leave()
    assert stopping.stopped_by(complaint.value) is told
    assert stopping.stopped_by(AssertionError()) is None


def test_what_a_finalizer_loses_is_told_at_once() -> None:
    """As of TensorFlow's variables, and of a callback of the garbage collector that JAX has."""

    class Slow:
        def __del__(self) -> None:
            time.sleep(60)

    def lose_it() -> None:
        del [Slow()][0]
        time.sleep(60)

    started = time.monotonic()
    with pytest.raises(stopping.Stopped), stopping.deadline("1s"):
        lose_it()
    assert time.monotonic() - started < 3


def test_the_backend_of_the_environment_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This process has TensorFlow then, and its next run the same backend."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("SHOULDERS_KERAS_BACKEND", "")
    monkeypatch.setattr("pipeline.runtime.find_spec", lambda _: True)
    found = [choose_backend(RuntimeConfig()) for _ in range(2)]
    assert found == ["jax", "jax"]


def test_a_deadline_stops_and_json_tells(command_line: CommandLine, tiny_recipe: Path) -> None:
    # With a giant that was assembled before the run is on record before TensorFlow is imported.
    InProcess(command_line.directory).result(tiny_recipe)
    told = ("--runtime.deadline", "2s", "--log", "json", "--seed", "1")
    done = command_line.run(tiny_recipe, *told)
    assert done.returncode == 143
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[0]["event"] == "run began"
    assert "stage began" in {line["event"] for line in lines}
    assert lines[-1]["message"].startswith("stopped at the deadline of 2s; run the same command")
    runs = json.loads(command_line("runs", "--store", command_line.store, "--json").stdout)
    assert [run["outcome"] for run in runs] == ["pushed", "stopped"]


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
        "print(json.dumps([run.data.metrics, run.data.params, list(answer['labels']),"
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
def test_warm_start(here: InProcess, tiny_recipe: Path, photos: Path) -> None:
    """The first run has nothing to go on from; the next one does, and the same again is reused."""
    warm = ("--model.warm-start", "blessed")
    first = here.result(tiny_recipe, *warm)
    assert [s["status"] for s in first["stages"] if s["name"] == "train_head"] == ["ran"]
    for label in ("ant", "bee"):
        (photos / label / "new.png").write_bytes((photos / label / "0.png").read_bytes() + b"\0")
    second = here.result(tiny_recipe, *warm)
    stages = {s["name"]: s for s in second["stages"]}
    assert stages["train_head"]["status"] == "skipped"
    assert stages["extract"]["stats"]["computed"] <= 2
    assert "blessed.evaluate" in stages
    assert Path(second["pushed"]).name == "2"
    again = here.result(tiny_recipe, *warm)
    assert {s["status"] for s in again["stages"]} <= {"reused", "skipped"}

    other = here.run(
        *(tiny_recipe, *warm, "--model.backbone", "MobileNetV2", "--photos.input-size", 32)
    )
    assert other.returncode == 2
    assert "model.warm_start must be of a model with the backbone MobileNetV2" in other.stderr
    (photos / "bee").rename(photos / "wasp")
    labels = here.run(tiny_recipe, *warm, "--data.allow-new-labels")
    assert labels.returncode == 2
    assert "with the same targets and labels, ant, wasp" in labels.stderr
