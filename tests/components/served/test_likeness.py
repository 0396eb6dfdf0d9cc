"""A served model says how unlike an example is to what it was trained on, and may say nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.artifacts import Rivals
from components.bless import BlessConfig, bless
from components.evaluate import EvaluateConfig, evaluate
from components.examples import patching
from components.export import ExportConfig, ServeConfig, export
from components.files import read_jsonl
from components.judging import likeness
from components.train_head import train_head
from components.training.head_config import HeadConfig
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import InProcess, picture, write_classes
from tests.helpers import PLAIN, ingested, job


def noise(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    root = tmp_path_factory.mktemp("likeness")
    examples = ingested(root / "examples", write_classes(root / "photos", 40))
    features = extracted(root / "features", assembled(root, examples), examples, 0)
    head = train_head(job(root / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    count = 0

    def make(**serve: Any) -> Any:
        nonlocal count
        count += 1
        place = job(root / f"export{count}")
        return export(place, head, examples, ExportConfig(), ServeConfig(**serve)), examples

    return make


def ask(model: Any, raws: list[bytes]) -> dict[str, np.ndarray]:
    answer = tf.saved_model.load(model.path).signatures["serving_default"](raw=tf.constant(raws))
    return {name: value.numpy() for name, value in answer.items()}


def test_noise_is_unknown_and_what_was_trained_on_is_itself(exported: Callable[..., Any]) -> None:
    model, examples = exported()
    rows = read_jsonl(examples.directory / "index.jsonl")
    trained = next(row for row in rows if row["split"] == "train")
    source = Path(examples.stats["location"]) / trained["name"]
    said = ask(model, [source.read_bytes(), noise(0), b"nothing", picture(0, 900)])
    assert said["valid"].tolist() == [True, True, False, True]
    assert said["known"].tolist() == [True, False, False, True]
    assert said["nearest"][0].decode() == trained["id"]
    assert said["distance"][0] < 0.05
    assert said["distance"][1] > 2 * said["distance"][3]
    assert said["nearest"][2] == b""
    assert said["labels"][1] in (b"ant", b"bee")  # It answers all the same.


def test_it_may_abstain(exported: Callable[..., Any]) -> None:
    model, examples = exported(abstain=True)
    said = ask(model, [picture(0, 900), noise(0), b"nothing"])
    assert said["labels"].tolist() == [b"ant", b"unknown", b""]
    found = evaluate(job(model.directory.parent / "judged"), model, examples, EvaluateConfig())
    assert found.figures["accuracy"] > 0.5


def test_it_may_not_abstain_where_unknown_is_a_label(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 6, ("ant", "unknown"))
    done = InProcess(tmp_path)(
        *("run", "photos", photos, "--serve.abstain", "--model.weights", "none"),
        *("--store", tmp_path / "store"),
    )
    assert done.returncode == 2
    assert "serve.abstain must be false where a label is called 'unknown'" in done.stderr


def test_a_number_that_is_not_answered(tmp_path: Path) -> None:
    """It is exported, though validation examples may be unknown; it is no interval, and no row."""
    folder = write_classes(tmp_path / "photos", 60)
    lines = ["path,light"]
    for label in ("ant", "bee"):
        for path in sorted((folder / label).iterdir()):
            light = np.asarray(Image.open(path).convert("L")).mean()
            lines.append(f"{path.relative_to(tmp_path)},{light:.3f}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    done = InProcess(tmp_path).result(
        *("photos", tmp_path / "table.csv", "--task", "number", "--data.columns", "light"),
        *("--serve.abstain", "--serve.known", "0.3", "--model.backbone", "ConvNet"),
        *("--model.weights", "none", "--photos.input-size", 16, "--control.enabled", "false"),
        *("--bless.force", "a test", "--head.features", "last"),
    )
    metrics = json.loads(next((tmp_path / "store").glob("evaluate/*/metrics.json")).read_text())
    answered = metrics["targets"][""]["sets"]["count"]
    assert 0 < answered < metrics["examples"]
    out = tmp_path / "said.tfrecord"
    said = InProcess(tmp_path)("predict", done["pushed"], folder, "--output", out)
    assert said.returncode == 0, said.stderr


def test_nothing_is_served_beside_where_nothing_is_asked_for(exported: Callable[..., Any]) -> None:
    model, _ = exported(coverage=0, known=0)
    assert ask(model, [picture(0, 900)]).keys() == {"probabilities", "labels", "valid"}


def test_near_duplicates_across_splits_are_named(tmp_path: Path) -> None:
    """And can be left out by the very file that names them."""
    photos = write_classes(tmp_path / "photos", 30)
    for number in range(2):
        shown = Image.open(io.BytesIO((photos / "ant" / f"{number}.{_kind(number)}").read_bytes()))
        shown.convert("RGB").save(photos / "ant" / f"copy{number}.jpg", quality=100, subsampling=0)
    table = tmp_path / "table.csv"
    lines = ["path,label,split"]
    for label in ("ant", "bee"):
        for path in sorted((photos / label).iterdir()):
            split = "test" if path.stem.startswith("copy") or path.stem in ("20", "21") else ""
            split = "train" if path.stem in ("0", "1") else split
            lines.append(f"{path.relative_to(tmp_path)},{label},{split}")
    table.write_text("\n".join(lines))
    examples = ingested(tmp_path / "examples", table)
    features = extracted(tmp_path / "features", assembled(tmp_path, examples), examples, 0)
    head = train_head(job(tmp_path / "head"), features, HeadConfig(features="last"), PLAIN, seed=0)
    model = export(job(tmp_path / "export"), head, examples, ExportConfig())
    found = evaluate(job(tmp_path / "evaluate"), model, examples, EvaluateConfig())
    with (found.directory / likeness.NEAR).open() as file:
        rows = list(csv.DictReader(file))
    copies = {Path(row["name"]).stem: Path(row["nearest_name"]).stem for row in rows}
    assert copies.items() >= {"copy0": "0", "copy1": "1"}.items()
    assert set(patching.NEEDED) <= rows[0].keys()
    verdict = bless(job(tmp_path / "bless"), found, Rivals(), BlessConfig())
    assert any("nearly the same" in reason for reason in verdict.reasons)


def _kind(number: int) -> str:
    return "jpeg" if number % 2 else "png"
