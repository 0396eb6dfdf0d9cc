"""track: parameters, metrics, report and model to MLflow; a blessed model is registered there."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import (
    Artifact,
    Evaluation,
    ExportedModel,
    Report,
    SoFar,
    TrackedRun,
    TrainedModel,
)
from components.files import read_json
from components.job import Job, stage
from components.section import Section
from models.mistakes import Mistake

with epy.lazy_imports():
    import mlflow

SERVED = Path(__file__).parent / "served" / "mlflow_model.py"


class MlflowConfig(Section):
    """Where MLflow is told of runs; nowhere without a tracking URI."""

    tracking_uri: str = ""
    """The server, such as https://mlflow.example.com or sqlite:///mlflow.db."""
    experiment: str = "shoulders"
    """The experiment that runs belong to."""
    model: str = "shoulders"
    """The name that a blessed model is registered under."""
    alias: str = "champion"
    """The alias that the newest blessed version has."""


def check(config: MlflowConfig) -> None:
    """A `Mistake` where MLflow is wanted and not installed."""
    if config.tracking_uri and find_spec("mlflow") is None:
        raise Mistake(
            f"mlflow.tracking_uri must have its extra installed, got {config.tracking_uri!r}: "
            f"pip install '.[mlflow]' installs it"
        )


@stage(version=2)
def track(job: Job, so_far: SoFar, report: Report, config: MlflowConfig) -> TrackedRun:
    """Tell MLflow of a run, and register its model under an alias if it was blessed.

    Raises:
        Mistake: the server does not answer, or refuses.
    """
    exported, blessed = so_far.exported, so_far.blessing.blessed
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with contextlib.redirect_stderr(io.StringIO()), _mistakes_of(config):
        mlflow.set_tracking_uri(config.tracking_uri)
        mlflow.set_experiment(config.experiment)
        with mlflow.start_run(run_name=report.ref.partition("/")[2][:8] or None) as run:
            mlflow.log_params(_parameters(so_far))
            mlflow.log_metrics(_metrics(so_far.evaluation))
            for model in (so_far.head, so_far.tuned):
                _log_curves(model)
            mlflow.set_tag("blessed", str(blessed).lower())
            mlflow.set_tag("reasons", " ".join(so_far.blessing.reasons))
            mlflow.log_artifact(str(report.path))
            mlflow.log_artifact(str(report.card))
            registered = _log_model(exported, config.model if blessed else None)
        if registered:
            client = mlflow.MlflowClient()
            client.set_registered_model_alias(config.model, config.alias, registered)
    return TrackedRun(
        directory=job.directory,
        run_id=run.info.run_id,
        model_version=registered,
        stats={"run_id": run.info.run_id, "version": registered},
    )


@contextlib.contextmanager
def _mistakes_of(config: MlflowConfig) -> Iterator[None]:
    try:
        yield
    except (mlflow.exceptions.MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(
            f"mlflow.tracking_uri must be a server that takes runs, got {config.tracking_uri!r}: "
            f"{reason}"
        ) from error


def _parameters(so_far: SoFar) -> dict[str, Any]:
    """What each stage was told, as `stage.key`: from the manifests, which are what was computed."""
    features = so_far.features
    model = features.model
    later: list[Artifact] = [so_far.head, so_far.tuned, so_far.exported, so_far.evaluation]
    found: dict[str, Any] = {
        "backbone": model.backbone,
        "pretrained": model.pretrained,
        "pooling": model.pooling,
        **model.form,
    }
    for artifact in (features.examples, model, features, *later):
        manifest = read_json(artifact.directory / "artifact.json")
        for name, value in manifest["inputs"].items():
            if isinstance(value, dict) and "digest" not in value:
                found |= {f"{manifest['stage']}.{key}": each for key, each in value.items()}
            elif not isinstance(value, dict) and value is not None:
                found[f"{manifest['stage']}.{name}"] = value
    return found


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    found = {f"test_{name}": value for name, value in evaluation.figures.items()}
    return found | {f"trivial_{name}": value for name, value in evaluation.trivial.items()}


def _log_curves(model: TrainedModel) -> None:
    """Every epoch of a phase; there are none where nothing was trained in it."""
    path = model.directory / "history.json"
    if path.exists():
        for epoch, row in enumerate(read_json(path)["epochs"]):
            mlflow.log_metrics({f"{model.phase}.{k}": v for k, v in row.items()}, step=epoch)


def _log_model(exported: ExportedModel, name: str | None) -> int | None:
    """The SavedModel as a model that `mlflow.pyfunc` loads; its version where it has a `name`."""
    needed = ["tensorflow"]
    if find_spec("tensorflow_text"):  # Its ops are in the graphs of models that read text.
        needed.append("tensorflow-text")
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(SERVED),
        artifacts={"saved_model": str(exported.path)},
        pip_requirements=["pandas", *(f"{name}=={version(name)}" for name in needed)],
        registered_model_name=name,
    )
    return int(logged.registered_model_version) if name else None
