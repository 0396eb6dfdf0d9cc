"""What is exported, judged and pushed."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.artifacts import Blessing, ExportedModel
from components.files import manifest_of
from components.push import PushConfig, push
from components.served import manifest as manifests
from components.served import opening
from components.served.versions import JOURNAL, ServingDirectory
from components.tasks.protocol import Target
from models.mistakes import Mistake
from pipeline import api
from tests.conftest import picture
from tests.helpers import job

SERVED = {
    *("probabilities", "labels", "prediction_set", "valid"),
    *("known", "distance", "nearest"),
}
C_PROGRAM = Path(__file__).parent / "predict.c"


def test_signatures_have_names_a_client_can_use(pushed: Path) -> None:
    signatures = tf.saved_model.load(pushed).signatures
    assert set(signatures) == {"serving_default", "serve_float", "embed"}
    for name, argument in (("serving_default", "raw"), ("serve_float", "decoded")):
        assert set(signatures[name].structured_input_signature[1]) == {argument}
        assert set(signatures[name].structured_outputs) == SERVED


def test_a_full_disk_is_not_the_models_fault(
    pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.copytree(pushed, tmp_path / "model")
    monkeypatch.setattr(opening, "_loaded", full)
    with pytest.raises(OSError, match="No space left"):
        opening.open_signatures(tmp_path / "model", "image")


def test_one_bad_image_leaves_its_neighbours_right(pushed: Path) -> None:
    serve = tf.saved_model.load(pushed).signatures["serving_default"]
    good = [picture(label, 300, kind=kind) for label in range(3) for kind in ("PNG", "JPEG")]
    alone = np.concatenate([serve(raw=tf.constant([one]))["probabilities"] for one in good])
    bad = [b"", b"words", good[1][:200], good[0][:60], b"\xff\xd8\xff garbage"]
    mixed = [raw for pair in zip(good[:5], bad, strict=True) for raw in pair] + [good[5]]
    answer = serve(raw=tf.constant(mixed))
    assert answer["valid"].numpy().tolist() == [True, False] * 5 + [True]
    np.testing.assert_allclose(answer["probabilities"][::2], alone, atol=1e-5)
    np.testing.assert_array_equal(answer["probabilities"][1::2], 0)
    assert set(answer["labels"].numpy()[1::2]) == {b""}
    assert set(answer["labels"].numpy()[::2]) <= {b"ant", b"bee", b"cat"}
    assert serve(raw=tf.constant([b"", b"x"]))["valid"].numpy().tolist() == [False, False]


def test_what_travels_inside(pushed: Path) -> None:
    assert (pushed / "assets" / "labels.txt").read_text().split() == ["ant", "bee", "cat"]
    contract = json.loads((pushed / "assets.extra" / "contract.json").read_text())
    assert contract["size"] == [16, 16]
    assert "# Model card" in (pushed / "assets.extra" / "model_card.md").read_text()
    manifests.verify_manifest(pushed)


def test_warmup_requests_are_answered(pushed: Path) -> None:
    serve = tf.saved_model.load(pushed).signatures["serving_default"]
    path = str(pushed / "assets.extra" / "tf_serving_warmup_requests")
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    assert len(records) == 3
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        assert all(serve(raw=tf.constant(tf.make_ndarray(request.inputs["raw"])))["valid"].numpy())


def test_predict_on_the_command_line(
    pushed: Path, in_process: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(picture(0, 400))
    (tmp_path / "b.jpg").write_text("words")
    status, out, _ = in_process("predict", pushed, "a.png", "b.jpg", "--json")
    assert status == 0
    first, second = json.loads(out)
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert first["label"] == max(first["probabilities"], key=lambda k: first["probabilities"][k])
    assert second["valid"] is False
    status, out, _ = in_process("predict", pushed, "a.png", "b.jpg")
    assert out.splitlines()[1] == "b.jpg\tinvalid"
    status, _, err = in_process("predict", pushed, "gone.png")
    assert (status, "INPUT must be a file" in err) == (2, True)


def test_a_model_that_was_changed_is_not_run(pushed: Path, tmp_path: Path) -> None:
    for name in ("saved_model.pb", "assets/labels.txt", "variables/variables.index"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(pushed, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(Mistake, match=f"got a changed {name}"):
            api.load(copy)


def tensor_names(model: Path) -> dict[str, str]:
    """The graph's names for the inputs and outputs of serving_default."""
    saved = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    return {k: v.name for part in (signature.inputs, signature.outputs) for k, v in part.items()}


def test_a_c_program_says_what_predict_says(pushed: Path, tmp_path: Path) -> None:
    """No Python: the C library inside the TensorFlow wheel, and the SavedModel's own names."""
    package = Path(sysconfig.get_paths()["purelib"]) / "tensorflow"
    program = tmp_path / "predict"
    gcc = ["gcc", "-Wall", "-Werror", "-o", str(program), str(C_PROGRAM), f"-I{package}/include"]
    libraries = [f"{package}/libtensorflow_cc.so.2", f"{package}/libtensorflow_framework.so.2"]
    subprocess.run([*gcc, *libraries, f"-Wl,-rpath,{package}"], check=True)
    files = []
    for label in range(3):
        for kind in ("PNG", "JPEG"):
            files.append(tmp_path / f"{label}.{kind}")
            files[-1].write_bytes(picture(label, 500, size=40, kind=kind))
    names = tensor_names(pushed)
    command = [str(w) for w in (program, pushed, names["raw"], names["probabilities"], *files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    got = [[float(p) for p in line.split()] for line in done.stdout.splitlines()]
    answers = api.load(pushed).predict(files)
    expected = [list(answer.as_json()["probabilities"].values()) for answer in answers]
    assert np.std(np.array(expected), axis=0).max() > 1e-3
    np.testing.assert_allclose(got, expected, atol=1e-5)


# Without a process of its own, which is tried where it matters.
HERE = PushConfig(check=False)


def test_what_it_was_made_with_travels_with_it(pushed: Path) -> None:
    """CycloneDX: each package with its version, TensorFlow and what it asks for among them."""
    told = json.loads((pushed / "assets.extra" / "sbom.cdx.json").read_text())
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.5")
    found = {each["name"]: each["version"] for each in told["components"]}
    assert found["tensorflow"] == tf.__version__
    assert {"keras", "protobuf", "python", "pillow"} <= found.keys()
    purls = {each.get("purl") for each in told["components"]}
    assert f"pkg:pypi/keras@{keras.__version__}" in purls


def exported(directory: Path, pushed: Path) -> ExportedModel:
    shutil.copytree(pushed, directory / "model")
    return ExportedModel(
        directory=directory, modality="image", targets=(Target(task="one_label"),), version=1
    )


def blessing(directory: Path, blessed: bool = True) -> Blessing:
    return Blessing(directory=directory, blessed=blessed, reasons=())


def test_push_takes_the_next_number_and_leaves_strangers_alone(
    pushed: Path, tmp_path: Path
) -> None:
    model = exported(tmp_path / "m", pushed)
    serving = ServingDirectory(tmp_path / "serving")
    (serving.path / "41").mkdir(parents=True)
    (serving.path / "notes").mkdir()
    result = push(job(tmp_path / "p"), model, blessing(tmp_path), serving, HERE)
    assert result.path == serving.path / "42"
    manifests.verify_manifest(serving.path / "42")
    refused = push(job(tmp_path / "q"), model, blessing(tmp_path, False), serving, HERE)
    assert refused.path is None
    assert sorted(p.name for p in serving.path.iterdir()) == [JOURNAL, "41", "42", "notes"]


def test_a_broken_model_is_not_pushed(pushed: Path, tmp_path: Path) -> None:
    model = exported(tmp_path / "m", pushed)
    (model.path / "variables" / "variables.index").unlink()
    serving = ServingDirectory(tmp_path / "serving")
    with pytest.raises(Mistake, match=r"got a changed variables/variables\.index"):
        push(job(tmp_path / "p"), model, blessing(tmp_path), serving, HERE)
    assert list(serving.path.iterdir()) == []


def test_a_killed_push_leaves_no_version(pushed: Path, tmp_path: Path) -> None:
    """A version is whole or absent, whenever the process dies."""
    model = exported(tmp_path / "m", pushed)
    (model.path / "padding").write_bytes(bytes(40 << 20))
    manifest = json.loads((model.path / manifests.MANIFEST).read_text())
    manifest["files"] = manifest_of(model.path, leave_out=manifests.MANIFEST)
    (model.path / manifests.MANIFEST).write_text(json.dumps(manifest))
    script = (
        "import sys; from pathlib import Path; from tests.components.served.test_serving import *\n"
        "m = ExportedModel(directory=Path(sys.argv[1]), modality='image', targets=(), version=1)\n"
        "to, serving = Path(sys.argv[2]), ServingDirectory(Path(sys.argv[3]))\n"
        "push(job(to), m, blessing(to), serving, HERE)"
    )
    serving = tmp_path / "serving"
    process = subprocess.Popen(
        [sys.executable, "-c", script, model.directory, tmp_path / "p", serving]
    )
    while not list(serving.glob(".incoming-*/*")) and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, "it was not hit"
    process.kill()
    process.wait()
    versions = ServingDirectory(serving).versions()
    for version in versions:
        manifests.verify_manifest(serving / str(version))
    result = push(job(tmp_path / "q"), model, blessing(tmp_path), ServingDirectory(serving), HERE)
    assert result.path == serving / str(len(versions) + 1)
