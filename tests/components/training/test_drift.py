"""What fine-tuning changes is told, and the point on the way that forgets least is found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.fine_tune import FineTuneConfig, fine_tune
from components.frozen.networks import open_backbone
from components.train_from_scratch import PretrainConfig, train_from_scratch
from components.train_head import train_head
from components.training import paired
from components.training.head_config import HeadConfig
from models import similarity
from models.mistakes import Mistake
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import write_classes
from tests.helpers import PLAIN, ingested, job


def test_features_are_alike_however_they_are_turned_and_scaled() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(60, 8))
    turned, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    assert similarity.linear_cka(one, 7 * one @ turned + 3) == pytest.approx(1)
    assert similarity.linear_cka(one, rng.normal(size=(60, 8))) < 0.3


@pytest.mark.parametrize(
    ("least", "noise", "chosen"),
    [(0.7, 0.0, 0.7), (1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.7, 9.0, 0.0)],
)
def test_the_point_is_the_best_or_as_good_and_nearer(
    least: float, noise: float, chosen: float
) -> None:
    """Where all differences are within noise, it does not move at all."""
    differs = noise * np.random.default_rng(0).normal(size=30)
    differs -= differs.mean()
    at = [0.0]

    def judge() -> np.ndarray:
        loss: np.ndarray = (at[0] - least) ** 2 + at[0] * differs
        return loss

    share, curve = paired.on_the_line(lambda where: at.__setitem__(0, where), judge)
    assert share == pytest.approx(chosen)
    assert at[0] == pytest.approx(chosen)
    assert len(curve) == 11


def test_a_rate_that_destroys_is_seen_and_undone(tmp_path: Path) -> None:
    """The features of the blocks are no longer alike; the way back is the head alone."""
    examples = ingested(tmp_path / "examples", write_classes(tmp_path / "photos", 24))
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples, 2)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    alike = {}
    for name, rate in (("careful", 1e-5), ("careless", 0.5)):
        config = FineTuneConfig(
            epochs=2, learning_rate=rate, interpolate="auto", restore_best_weights=False
        )
        tuned = fine_tune(job(tmp_path / name), head, features, config, PLAIN, seed=0)
        found = json.loads((tuned.directory / "forgetting.json").read_text())
        assert [row["block"] for row in found["blocks"]] == ["block2", "block3"]
        alike[name] = found
    assert alike["careful"]["share"] > 0 or not tuned.backbone_changed
    assert all(row["cka"] > 0.99 for row in alike["careful"]["blocks"])
    assert alike["careless"]["share"] == 0
    assert max(row["cka"] for row in alike["careless"]["blocks"]) < 0.99
    assert all(row["cka"] == pytest.approx(1) for row in alike["careless"]["kept"]["blocks"])
    assert not tuned.backbone_changed
    assert "nothing on the way" in tuned.kept


def test_half_of_the_way(tmp_path: Path) -> None:
    examples = ingested(tmp_path / "examples", write_classes(tmp_path / "photos", 24))
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples, 1)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    moved = {}
    for share in (0.5, 1.0):
        config = FineTuneConfig(epochs=2, learning_rate=1e-4, interpolate=share)
        tuned = fine_tune(job(tmp_path / f"{share}"), head, features, config, PLAIN, seed=0)
        found = json.loads((tuned.directory / "forgetting.json").read_text())
        moved[share] = (found["kept"] or found)["blocks"][0]["moved"]
    assert moved[0.5] == pytest.approx(moved[1.0] / 2, rel=1e-4)
    with pytest.raises(Mistake, match=r"fine_tune\.interpolate must be 0 to 1, or 'auto', got 2"):
        FineTuneConfig(interpolate=2)


def test_half_of_a_way_that_is_worse_is_not_kept(tmp_path: Path) -> None:
    examples = ingested(tmp_path / "examples", write_classes(tmp_path / "photos", 24))
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples, 1)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    config = FineTuneConfig(
        epochs=2, learning_rate=0.9, interpolate=0.5, restore_best_weights=False
    )
    tuned = fine_tune(job(tmp_path / "tuned"), head, features, config, PLAIN, seed=0)
    assert not tuned.backbone_changed
    assert "the head alone" in tuned.kept


def test_l2_sp_keeps_weights_near_the_pretrained_ones(tmp_path: Path) -> None:
    examples = ingested(tmp_path / "examples", write_classes(tmp_path / "photos", 24))
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples, 1)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    moved = {}
    for pull in (0.0, 500.0):
        config = FineTuneConfig(epochs=4, learning_rate=1e-3, l2_sp=pull)
        tuned = fine_tune(job(tmp_path / f"{pull}"), head, features, config, PLAIN, seed=0)
        [row] = json.loads((tuned.directory / "forgetting.json").read_text())["blocks"]
        moved[pull] = row["moved"]
    assert 0 < moved[500.0] < 0.7 * moved[0.0]


def test_the_head_that_a_backbone_came_with_tells_what_is_forgotten(tmp_path: Path) -> None:
    """Of a backbone that was trained on a task of ours: it knows it, until a rate destroys that."""
    source = ingested(tmp_path / "source", write_classes(tmp_path / "before", 40))
    blank = assembled(tmp_path / "blank", source)
    decoded = extracted(tmp_path / "decoded", blank, source, "all", vectors="none")
    config = PretrainConfig(epochs=20, learning_rate=3e-3, patience=20)
    trained = train_from_scratch(job(tmp_path / "trained"), decoded, config, PLAIN, seed=0)
    examples = ingested(tmp_path / "examples", write_classes(tmp_path / "photos", 30))
    model = assembled(tmp_path / "model", examples, pretrained=trained)
    features = extracted(tmp_path / "features", model, examples, 2)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    own = {}
    for name, rate in (("careful", 1e-6), ("careless", 0.5)):
        tuning = FineTuneConfig(epochs=2, learning_rate=rate, restore_best_weights=False)
        tuned = fine_tune(job(tmp_path / name), head, features, tuning, PLAIN, seed=0)
        own[name] = json.loads((tuned.directory / "forgetting.json").read_text())["own_head"]
    assert own["careful"]["agreement"] > 0.95
    assert own["careful"]["accuracy"] == pytest.approx(own["careful"]["accuracy_before"], abs=0.1)
    assert own["careless"]["agreement"] < 0.8
    assert own["careless"]["accuracy"] < own["careful"]["accuracy"]


def test_the_head_that_a_giant_was_published_with(tmp_path: Path) -> None:
    """Of one without examples of its own: how often it says the same of ours."""
    examples = ingested(tmp_path / "examples", write_classes(tmp_path / "photos", 30))
    model = assembled(tmp_path / "model", examples)
    rng = np.random.default_rng(0)
    features = extracted(tmp_path / "features", model, examples, 2)
    wide = open_backbone(model, model.weights).output_shape[-1]
    np.savez(model.own_head, kernel=rng.normal(size=(wide, 9)), bias=np.zeros(9))
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    own = {}
    for name, rate in (("careful", 1e-7), ("careless", 0.5)):
        tuning = FineTuneConfig(epochs=2, learning_rate=rate, restore_best_weights=False)
        tuned = fine_tune(job(tmp_path / name), head, features, tuning, PLAIN, seed=0)
        own[name] = json.loads((tuned.directory / "forgetting.json").read_text())["own_head"]
    assert own["careful"]["agreement"] > 0.95
    assert own["careless"]["agreement"] < own["careful"]["agreement"]
    assert own["careful"]["accuracy"] is None
