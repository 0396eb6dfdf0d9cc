"""Which weights are kept, and the page that tells of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from components.artifacts import Features, TrainedModel
from components.fine_tune import FineTuneConfig, fine_tune
from components.tasks.learning import Learning
from components.train_head import train_head
from components.training.head_config import HeadConfig
from models import hardware, training
from models.mistakes import Mistake
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import InProcess, write_classes
from tests.helpers import PLAIN, ingested, job


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Features]:
    """A good head, and a block to unfreeze."""
    return _trained(tmp_path_factory.mktemp("trained"), 1, HeadConfig(learning_rate=0.01))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Features]:
    """A head that has hardly begun, and three blocks to unfreeze."""
    return _trained(tmp_path_factory.mktemp("deep"), 3, HeadConfig(epochs=1))


def _trained(directory: Path, unfreeze: int, config: HeadConfig) -> tuple[TrainedModel, Features]:
    examples = ingested(directory / "examples", write_classes(directory / "photos", 20))
    model = assembled(directory, examples)
    features = extracted(directory / "features", model, examples, unfreeze)
    return train_head(job(directory / "head"), features, config, PLAIN, seed=0), features


def tuned(
    tmp_path: Path,
    model: tuple[TrainedModel, Features],
    learning: Learning = PLAIN,
    **config: Any,
) -> TrainedModel:
    settings = FineTuneConfig(unfreeze=1, **({"epochs": 2} | config))
    return fine_tune(job(tmp_path / f"tuned{config}"), *model, settings, learning, seed=0)


def test_the_better_weights_are_kept_and_it_says_which(
    tmp_path: Path, trained: tuple[TrainedModel, Features]
) -> None:
    better = tuned(tmp_path, trained, learning_rate=1e-3)
    assert better.backbone_changed
    assert "the fine-tuned weights of epoch" in better.kept
    worse = tuned(tmp_path, trained, learning_rate=1.0)
    assert not worse.backbone_changed
    assert worse.kept.startswith("the head alone: fine-tuning made it worse")
    assert worse.remarks == (f"The model has {worse.kept}.",)
    assert not better.remarks
    assert worse.backbone_weights == trained[0].backbone_weights
    nothing = tuned(tmp_path, trained, epochs=0)
    assert nothing.kept == trained[0].kept
    assert nothing.stats["skipped"]
    assert not nothing.remarks


def test_tensorboard_shows_every_epoch(
    tmp_path: Path, trained: tuple[TrainedModel, Features]
) -> None:
    """Under the names of Keras's own callback, in the artifact, and not a part of what it is."""
    model = tuned(tmp_path, trained, epochs=3, learning_rate=1e-3)
    epochs = json.loads((model.directory / "history.json").read_text())["epochs"]
    for name, prefix in (("train", ""), ("validation", "val_")):
        log = EventAccumulator(str(model.directory / "tensorboard" / name))
        log.Reload()
        shown = [float(tf.make_ndarray(e.tensor_proto)) for e in log.Tensors("epoch_loss")]
        assert shown == pytest.approx([epoch[f"{prefix}loss"] for epoch in epochs])


def test_a_head_that_blows_up_is_a_mistake(
    tmp_path: Path, trained: tuple[TrainedModel, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = training.History(({"val_loss": float("nan")},), 0, {})
    monkeypatch.setattr(training, "train", lambda *_, **__: history)
    with pytest.raises(Mistake, match=r"head.learning_rate must be low enough .* got 10.0"):
        train_head(job(tmp_path / "nan"), trained[1], HeadConfig(learning_rate=10), PLAIN, seed=0)


def test_label_smoothing_does_not_decide_which_is_better(
    tmp_path: Path, trained: tuple[TrainedModel, Features]
) -> None:
    """Its loss is higher than the plain one of the very same weights."""
    smooth = Learning(own={"one_label": {"label_smoothing": 0.5}})
    model = tuned(tmp_path, trained, smooth, learning_rate=1e-6, epochs=1)
    figures = model.stats
    assert abs(figures["val_loss"] - figures["before_val_loss"]) < 0.3


def test_the_audit_says_what_moved(tmp_path: Path, trained: tuple[TrainedModel, Features]) -> None:
    model = tuned(tmp_path, trained, learning_rate=1e-3)
    audit = json.loads((model.directory / "audit.json").read_text())
    head = {"probabilities/kernel", "probabilities/bias"}
    assert set(audit["moved"]) == {"block3_conv/kernel"} | head
    assert {"block3_bn/moving_mean", "block1_conv/kernel"} <= set(audit["frozen"])


def test_lower_blocks_move_less_and_the_head_more(
    tmp_path: Path, deep: tuple[TrainedModel, Features]
) -> None:
    """Adam moves every weight by its learning rate a step, more or less."""
    settings: dict[str, Any] = {
        "epochs": 1,
        "learning_rate": 1e-4,
        "layer_decay": 0.1,
        "head_ratio": 10.0,
    }
    model = tuned(tmp_path, deep, **settings)
    moved = json.loads((model.directory / "audit.json").read_text())["moved"]
    top = moved["block3_conv/kernel"]
    assert moved["block2_conv/kernel"] == pytest.approx(0.1 * top, rel=0.5)
    assert moved["block1_conv/kernel"] == pytest.approx(0.01 * top, rel=0.5)
    assert moved["probabilities/kernel"] == pytest.approx(10 * top, rel=0.5)


def test_gradual_unfreezing_takes_one_block_more_when_it_no_longer_helps(
    tmp_path: Path, deep: tuple[TrainedModel, Features]
) -> None:
    settings: dict[str, Any] = {"gradual": True, "epochs": 12, "learning_rate": 3e-3, "patience": 1}
    model = tuned(tmp_path, deep, **settings)
    moved = json.loads((model.directory / "audit.json").read_text())["moved"]
    blocks = {name.split("_")[0] for name in moved if name.startswith("block")}
    assert len(blocks) == model.stats["unfrozen"] >= 1
    assert blocks == set(["block3", "block2", "block1"][: model.stats["unfrozen"]])
    assert model.stats["epochs"] <= 12
    assert model.stats["val_loss"] <= model.stats["before_val_loss"]
    history = json.loads((model.directory / "history.json").read_text())
    kept = history["epochs"][history["best_epoch"]]["val_loss"]
    assert kept == pytest.approx(model.stats["val_loss"])


@pytest.mark.parametrize(
    "stop_after",
    [4, *(pytest.param(stop, marks=pytest.mark.exhaustive) for stop in (1, 6))],
)
def test_gradual_unfreezing_that_was_stopped_ends_the_same(
    tmp_path: Path, deep: tuple[TrainedModel, Features], stop_after: int
) -> None:
    config = FineTuneConfig(
        unfreeze=3, gradual=True, epochs=8, learning_rate=3e-3, patience=1, ema=0.5
    )
    whole = fine_tune(job(tmp_path / "whole"), *deep, config, PLAIN, seed=0)
    told = 0

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        nonlocal told
        told += 1
        if told == stop_after:
            raise InterruptedError

    work = job(tmp_path / "resumed")
    with pytest.raises(InterruptedError):
        fine_tune(dataclasses.replace(work, progress=stop), *deep, config, PLAIN, seed=0)
    resumed = fine_tune(work, *deep, config, PLAIN, seed=0)
    assert resumed.stats == whole.stats
    for file in ("history.json", "audit.json"):
        assert (resumed.directory / file).read_bytes() == (whole.directory / file).read_bytes()


def test_16_bits_end_near_32(tmp_path: Path, deep: tuple[TrainedModel, Features]) -> None:
    losses = [
        tuned(tmp_path, deep, precision=precision, epochs=3, learning_rate=1e-4).stats["val_loss"]
        for precision in ("float32", "bfloat16", "float16")
    ]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=0.02)
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    ("devices", "capability", "best"),
    [
        (["tpu:0"], "", "bfloat16"),
        (["gpu:0"], "9.0", "bfloat16"),
        (["gpu:0", "gpu:1"], "7.5\n8.0", "float16"),
        (["gpu:0"], "6.1", None),
        (["gpu:0"], "N/A", None),
    ],
)
def test_16_bits_only_where_the_hardware_is_faster(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: list[str],
    capability: str,
    best: str | None,
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{capability}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: devices)
    assert hardware.half_precision() == best


@pytest.mark.slow
def test_the_report_shows_duplicates_that_are_mistaken_and_the_whole_lineage(
    here: InProcess, tiny_recipe: Path, photos: Path
) -> None:
    for number in range(0, 20, 2):  # Half the ants are called bees: nobody can tell them apart.
        (photos / "ant" / f"{number}.png").rename(photos / "bee" / f"ant-{number}.png")
    for path in sorted(photos.rglob("*.*g")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    result = here.result(
        tiny_recipe,
        "--head.epochs",
        1,
        "--control.enabled",
        "--control.epochs",
        1,
        "--bless.force",
        "a test",
    )
    page = Path(result["report"]).read_text()
    assert page.count("data:image/jpeg;base64") >= 2
    lineage = page[page.index("Stages and lineage") :]
    scratch = "control.train_control"
    for stage in ("ingest", "extract", "train_head", "export", scratch, "bless"):
        assert f'<th scope="row">{stage}</th>' in lineage
