"""Which weights are kept, and the page that tells of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from components.artifacts import Features, TrainedModel
from components.fine_tune import FineTuneConfig, fine_tune
from components.train_head import HeadConfig, train_head
from models import training
from models.mistakes import Mistake
from tests.conftest import CommandLine
from tests.helpers import ingested, job
from tests.test_activations import assembled, extracted


@pytest.fixture
def trained(tmp_path: Path, photos: Path) -> tuple[TrainedModel, Features]:
    examples = ingested(tmp_path / "examples", photos)
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples)
    head = HeadConfig(epochs=10, learning_rate=0.01)
    return train_head(job(tmp_path / "head"), features, head, seed=0), features


def tuned(tmp_path: Path, model: tuple[TrainedModel, Features], **config: float) -> TrainedModel:
    settings = FineTuneConfig(unfreeze=1, **({"epochs": 2} | config))
    return fine_tune(job(tmp_path / f"tuned{config}"), *model, settings, seed=0)


def test_the_better_weights_are_kept_and_it_says_which(
    tmp_path: Path, trained: tuple[TrainedModel, Features]
) -> None:
    better = tuned(tmp_path, trained, learning_rate=1e-3)
    assert better.backbone_changed
    assert "the fine-tuned weights of epoch" in better.kept
    worse = tuned(tmp_path, trained, learning_rate=1.0)
    assert not worse.backbone_changed
    assert worse.kept.startswith("the head alone: fine-tuning made it worse")
    assert worse.backbone_weights == trained[0].backbone_weights
    nothing = tuned(tmp_path, trained, epochs=0)
    assert nothing.kept == "the head alone: there was nothing to fine-tune"
    assert nothing.stats["skipped"]


def test_a_head_that_blows_up_is_a_mistake(
    tmp_path: Path, trained: tuple[TrainedModel, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = training.History(({"val_loss": float("nan")},), 0, {})
    monkeypatch.setattr(training, "train", lambda *_, **__: history)
    with pytest.raises(Mistake, match=r"head.learning_rate must be low enough .* got 10.0"):
        train_head(job(tmp_path / "nan"), trained[1], HeadConfig(learning_rate=10), seed=0)


def test_label_smoothing_does_not_decide_which_is_better(
    tmp_path: Path, trained: tuple[TrainedModel, Features]
) -> None:
    """Its loss is higher than the plain one of the very same weights."""
    model = tuned(tmp_path, trained, learning_rate=1e-6, label_smoothing=0.5, epochs=1)
    figures = model.stats
    assert abs(figures["val_loss"] - figures["before_val_loss"]) < 0.3


def test_the_audit_says_what_moved(tmp_path: Path, trained: tuple[TrainedModel, Features]) -> None:
    model = tuned(tmp_path, trained, learning_rate=1e-3)
    audit = json.loads((model.directory / "audit.json").read_text())
    head = {"probabilities/kernel", "probabilities/bias"}
    assert set(audit["moved"]) == {"block3_conv/kernel"} | head
    assert {"block3_bn/moving_mean", "block1_conv/kernel"} <= set(audit["frozen"])


@pytest.mark.slow
def test_the_report_shows_duplicates_that_are_mistaken_and_the_whole_lineage(
    command_line: CommandLine, tiny_recipe: Path, photos: Path
) -> None:
    for path in sorted(photos.rglob("*.*g")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    result = command_line.result(
        tiny_recipe,
        "--head.epochs",
        1,
        "--head.learning-rate",
        "1e-9",
        "--control.enabled",
        "--control.epochs",
        1,
        "--bless.force",
        "a test",
    )
    page = Path(result["report"]).read_text()
    assert page.count("data:image/jpeg;base64") >= 2
    lineage = page[page.index("Stages and lineage") :]
    for stage in ("ingest", "extract", "train_head", "export", "train_from_scratch", "bless"):
        assert f"<td>{stage}</td>" in lineage
