"""Golden vectors: what a model said when it was exported, it says wherever it is loaded."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components import evaluate as evaluating
from components.artifacts import Artifact, ExportedModel
from components.evaluate import EvaluateConfig, evaluate
from components.export import ExportConfig, export
from components.files import manifest_of, read_json, write_json
from components.served import golden, opening
from components.served.manifest import MANIFEST
from components.train_head import train_head
from components.training.head_config import HeadConfig
from models.mistakes import Mistake
from tests.components.frozen.test_activations import assembled, extracted
from tests.conftest import InProcess, picture, write_classes
from tests.helpers import PLAIN, ingested, job


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    directory = tmp_path_factory.mktemp("golden")
    examples = ingested(directory / "examples", write_classes(directory / "photos", 20))
    features = extracted(directory / "features", assembled(directory, examples), examples, 0)
    model = train_head(job(directory / "head"), features, HeadConfig(epochs=2), PLAIN, seed=0)
    return export(job(directory / "export"), model, examples, ExportConfig())


@pytest.fixture
def model(made: ExportedModel, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(made.path, tmp_path / "model")


def changed(model: Path, **arrays: np.ndarray) -> None:
    """Other golden vectors, with a manifest that fits them."""
    with np.load(model / golden.FILE) as before:
        np.savez_compressed(model / golden.FILE, **(dict(before) | arrays))
    manifest = read_json(model / MANIFEST)
    manifest["files"] = manifest_of(model, leave_out=MANIFEST)
    write_json(model / MANIFEST, manifest)


def test_a_model_travels_with_examples_and_says_the_same_of_them(
    model: Path, here: InProcess
) -> None:
    with np.load(model / golden.FILE) as arrays:
        assert arrays["input.decoded"].shape == (2, 16, 16, 3)
        assert arrays["output.probabilities"].shape == (2, 2)
        assert arrays["raw.1"].tobytes()[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")
    told = here("predict", model, "--check")
    assert told.returncode == 0, told.stderr
    assert "it says the same of its 2 golden examples" in told.stdout


def test_one_that_says_something_else_is_refused_by_every_load(
    model: Path, here: InProcess, tmp_path: Path
) -> None:
    with np.load(model / golden.FILE) as arrays:
        outputs = arrays["output.probabilities"].copy()
    outputs[1, 0] += 0.01
    changed(model, **{"output.probabilities": outputs})
    (tmp_path / "a.png").write_bytes(picture(0, 0))
    for words in (("--check",), (tmp_path / "a.png",), (tmp_path, "-o", tmp_path / "all.jsonl")):
        told = here("predict", model, *words)
        assert told.returncode == 2
        line = told.stderr.splitlines()[-1]
        now, was = re.search(
            r"probabilities (\S+) for its golden example 1, which was (\S+):", line
        ).groups()  # type: ignore[union-attr]
        assert float(now) == pytest.approx(outputs[1, 0] - 0.01, abs=1e-5)
        assert float(was) == pytest.approx(outputs[1, 0], abs=1e-5)
        assert "the network differs" in line


def test_it_is_told_where_decoding_is_what_differs(model: Path) -> None:
    changed(model, **{"raw.0": np.frombuffer(picture(1, 99), np.uint8)})
    with pytest.raises(Mistake, match=r"golden example 0.*how it is decoded differs"):
        opening.check(model, "image")


def test_without_examples_there_is_nothing_to_compare(model: Path, here: InProcess) -> None:
    (model / golden.FILE).unlink()
    manifest = read_json(model / MANIFEST)
    manifest["files"] = manifest_of(model, leave_out=MANIFEST)
    write_json(model / MANIFEST, manifest)
    assert "has no golden examples" in here("predict", model, "--check").stdout


def test_what_the_same_model_said_of_an_example_is_not_asked_again(
    made: ExportedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made.trained
    examples = made.trained.features.examples
    first = evaluate(job(tmp_path / "first"), made, examples, EvaluateConfig())

    def earlier() -> Iterator[Artifact]:
        yield first

    def refuse(*_: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(evaluating, "Opened", refuse)
    again = dataclasses.replace(job(tmp_path / "again"), earlier=earlier)
    second = evaluate(again, made, examples, EvaluateConfig(batch_size=3))
    assert second.figures == first.figures
    with pytest.raises(AssertionError, match="was asked"):
        evaluate(job(tmp_path / "anew"), made, examples, EvaluateConfig())
