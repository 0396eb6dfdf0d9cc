"""A model is a program: what would do more than to compute is not loaded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.files import MANIFEST, read_json
from components.served import inspecting, opening
from components.served.inspecting import Forbidden
from components.served.manifest import verify_manifest
from components.served.opening import open_signatures
from components.tasks.protocol import Space, Target
from models import backbones, yamnet
from models.mistakes import Mistake
from models.presets import open_backbone
from tests.chaos import programs
from tests.conftest import InProcess, write_classes


@pytest.fixture
def never(tmp_path: Path) -> Iterator[str]:
    """What the programs would write, and did not."""
    yield str(tmp_path / "written")
    assert not (tmp_path / "written").exists()


def refused(path: Path, said: str) -> None:
    with pytest.raises(Forbidden, match=said):
        open_signatures(path, "image")


def test_what_only_computes_is_loaded(tmp_path: Path, pushed: Path) -> None:
    inspecting.inspect(programs.model(tmp_path / "model"))
    inspecting.inspect(pushed)


@pytest.mark.parametrize(("operation", "does"), programs.IN_A_SIGNATURE)
def test_signatures(operation: str, does: programs.Evil, tmp_path: Path, never: str) -> None:
    model = programs.model(tmp_path / "model", does, never)
    refused(model, f"must only compute, got the operation '{operation}' in its function")


def test_initializers(tmp_path: Path, never: str) -> None:
    """They run when a model is loaded: that is what TensorFlow does, …"""
    proof = tmp_path / "proof"
    tf.saved_model.load(programs.with_an_initializer(tmp_path / "other", str(proof)))
    assert proof.exists()
    refused(programs.with_an_initializer(tmp_path / "model", never), "'WriteFile'")
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("a\nb\n")
    refused(programs.with_a_vocabulary(tmp_path / "table", vocabulary), "InitializeTableFromText")


def test_a_function_that_nothing_calls(tmp_path: Path, never: str) -> None:
    evil = programs.model(tmp_path / "evil", programs.IN_A_SIGNATURE[0][1], never)

    def add(graph: Any) -> None:
        taken = saved_model_pb2.SavedModel.FromString((evil / "saved_model.pb").read_bytes())
        functions = taken.meta_graphs[0].graph_def.library.function
        writes = next(f for f in functions if any(n.op == "WriteFile" for n in f.node_def))
        copy = graph.graph_def.library.function.add()
        copy.CopyFrom(writes)
        copy.signature.name = "nobody"

    refused(programs.edited(programs.model(tmp_path / "model"), add), "in its function 'nobody'")


def test_the_saver_is_for_the_saver_alone(tmp_path: Path) -> None:
    """A signature, or an initializer, that names what saves would write where its graph says."""

    def as_a_signature(graph: Any) -> None:
        output = graph.signature_def["serving_default"].outputs["valid"]
        output.name = graph.saver_def.save_tensor_name

    def as_an_initializer(graph: Any) -> None:
        name = graph.saver_def.save_tensor_name.partition(":")[0]
        graph.collection_def["saved_model_main_op"].node_list.value[:] = [name]

    def as_what_restores(graph: Any) -> None:
        graph.saver_def.restore_op_name = graph.saver_def.save_tensor_name.partition(":")[0]

    for number, change in enumerate((as_a_signature, as_an_initializer, as_what_restores)):
        model = programs.edited(programs.model(tmp_path / str(number)), change)
        refused(model, "MergeV2Checkpoints|SaveV2|ShardedFilename|RestoreV2")


def test_what_saves_is_not_an_object_s_function(tmp_path: Path, never: str) -> None:
    """An object names a function, which the saver's node reaches as well, in more than one way."""
    by_saver = next(does for operation, does in programs.IN_A_SIGNATURE if operation == "SaveV2")

    def behind_the_saver(graph: Any) -> None:
        functions = {f.signature.name: f for f in graph.graph_def.library.function}
        evil = {
            name
            for name, function in functions.items()
            if any(n.op == "SaveV2" for n in function.node_def) and "traced_save" not in name
        }
        calls = {
            name
            for name, function in functions.items()
            if any(a.func.name in evil for n in function.node_def for a in n.attr.values())
        }
        for name in evil | calls:
            graph.object_graph_def.concrete_functions.pop(name, None)
        nodes = graph.graph_def.node
        for at in reversed(range(len(nodes))):
            if any(value.func.name in evil | calls for value in nodes[at].attr.values()):
                del nodes[at]
        save = graph.saver_def.save_tensor_name.partition(":")[0]
        for node in nodes:
            if node.name == save:
                for number, name in enumerate(sorted(evil | calls)):
                    node.attr[f"f{number}"].func.name = name

    model = programs.model(tmp_path / "model", by_saver, never)
    refused(programs.edited(model, behind_the_saver), "'SaveV2'")


def test_other_forms_and_other_names(tmp_path: Path) -> None:
    """TensorFlow 1 has signatures of several tensors; a function may be named like an operation."""

    def of_tensorflow_1(graph: Any) -> None:
        graph.ClearField("object_graph_def")

    def sparse(graph: Any) -> None:
        output = graph.signature_def["serving_default"].outputs["valid"]
        output.ClearField("name")
        output.coo_sparse.indices_tensor_name = graph.saver_def.save_tensor_name

    def branch(graph: Any) -> None:
        function = next(f for f in graph.graph_def.library.function if "serve" in f.signature.name)
        function.node_def.add(name="a", op="If").attr["then_branch"].func.name = "WriteFile"

    def namesake(graph: Any) -> None:
        function = graph.graph_def.library.function.add()
        function.signature.name = "WriteFile"

    for number, (change, said) in enumerate(
        (
            (of_tensorflow_1, "form of TensorFlow 2, got that of TensorFlow 1"),
            (sparse, "MergeV2Checkpoints|SaveV2|ShardedFilename"),
            (branch, "the operation 'WriteFile' in its function"),
            (namesake, "under the name of an operation"),
        )
    ):
        refused(programs.edited(programs.model(tmp_path / str(number)), change), said)


def test_files_of_a_model(tmp_path: Path, never: str) -> None:
    """Other forms of the program, which TensorFlow prefers; assets elsewhere; no program."""
    evil = programs.model(tmp_path / "evil", programs.IN_A_SIGNATURE[0][1], never)
    for suffix in ("cpb", "pbtxt"):
        model = programs.model(tmp_path / suffix)
        shutil.copy(evil / "saved_model.pb", model / f"saved_model.{suffix}")
        refused(programs.signed_off(model), f"alone, got saved_model.{suffix}")

    def elsewhere(graph: Any) -> None:
        graph.asset_file_def.add().filename = "../../../etc/passwd"

    refused(programs.edited(programs.model(tmp_path / "asset"), elsewhere), "its assets in it")
    broken = programs.model(tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"\xff" * 100)
    refused(programs.signed_off(broken), "can be read")


def test_what_is_loaded_is_what_was_looked_at(
    tmp_path: Path, never: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody puts another program there between the two."""
    model = programs.model(tmp_path / "model")
    evil = programs.with_an_initializer(tmp_path / "evil", never) / "saved_model.pb"
    looked_at = inspecting.inspect

    def exchanged(path: Path) -> bytes:
        program = looked_at(path)
        (path / "saved_model.pb").write_bytes(evil.read_bytes())
        return program

    monkeypatch.setattr(opening, "inspect", exchanged)
    assert "serving_default" in opening.open_signatures(model, "image")


def test_models_that_break(tmp_path: Path) -> None:
    """One line, whatever TensorFlow or NumPy make of it."""
    without = programs.model(tmp_path / "without")
    shutil.rmtree(without / "variables")
    golden = programs.model(tmp_path / "golden")
    (golden / "assets.extra").mkdir()
    (golden / "assets.extra" / "golden.npz").write_bytes(b"PK\x03\x04junk")
    for model in (without, golden):
        programs.signed_off(model)
        with pytest.raises(Mistake, match="must be a model of ours that can be loaded"):
            opening.open_signatures(model, "image")
    targets = [Target(task="one_label", space=Space(labels=("a", "b")))]
    answer = opening.Opened(programs.model(tmp_path / "less"), "image", targets).ask([b"raw"])
    with pytest.raises(Mistake, match="must say what its manifest says, got no 'labels'"):
        answer.said()
    programs.signed_off(golden, modality=[])
    with pytest.raises(Mistake, match="must have one of the modalities"):
        verify_manifest(golden)


def test_what_is_no_file_in_a_model(tmp_path: Path) -> None:
    """Links, which may lead to themselves, and pipes: nothing is copied or waited for."""
    makes: list[Callable[[Path], None]] = [
        lambda path: path.symlink_to("."),
        lambda path: path.symlink_to("/etc/passwd"),
        os.mkfifo,
    ]
    for number, make in enumerate(makes):
        model = programs.model(tmp_path / str(number))
        make(model / "a")
        with pytest.raises(Mistake, match="got a changed a"):
            verify_manifest(model)
    model = programs.model(tmp_path / "pipe")
    (model / MANIFEST).unlink()
    os.mkfifo(model / MANIFEST)
    with pytest.raises(Mistake, match="must hold a model with a MANIFEST"):
        verify_manifest(model)


def test_a_manifest_that_names_files_elsewhere(tmp_path: Path) -> None:
    model = programs.model(tmp_path / "model")
    files = read_json(model / MANIFEST)["files"]
    for name in ("../../etc/passwd", "/etc/passwd"):
        programs.signed_off(model, files=files | {name: {"size": 1, "sha256": ""}})
        with pytest.raises(Mistake, match="got a changed"):
            verify_manifest(model)


def _evil(to: str) -> Any:
    """A Lambda's function; what makes the file that it is in does not set it off."""
    return lambda x: x if not __import__("os").environ.get("ARMED") else open(to, "w")


def test_weights_are_numbers(tmp_path: Path, never: str) -> None:
    """No code, no Lambda, nothing of another file."""
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")])
    weights = tmp_path / "good.weights.h5"
    plain.save_weights(weights)
    backbones.load_weights(plain, weights)

    code = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(_evil(never))])
    for suffix in (".weights.h5", ".keras", ".h5"):
        code_in = tmp_path / f"lambda{suffix}"
        code.save_weights(code_in) if suffix == ".weights.h5" else code.save(code_in)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ARMED", "1")
            with pytest.raises(Mistake, match="must fit"):
                backbones.load_weights(plain, code_in)
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{"logits/kernel": np.array([print], object)})  # type: ignore[arg-type]
    with pytest.raises(Mistake, match="YAMNet's"):
        yamnet.head(pickled)


def test_weights_of_another_file(tmp_path: Path) -> None:
    """HDF5 has links to other files, and data sets whose numbers are in them."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1024 * 521 * 4))
    linked, outside = tmp_path / "linked.weights.h5", tmp_path / "outside.weights.h5"
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")])
    for path in (linked, outside):
        plain.save_weights(path)
        with h5py.File(path, "a") as file:
            values = file["layers/dense/vars"]
            shape = values["0"].shape
            del values["0"]
            if path == linked:
                values["0"] = h5py.ExternalLink(str(secret), "/0")
            else:
                values.create_dataset("0", shape, "f4", external=[(str(secret), 0, 16)])
        with pytest.raises(Mistake, match="must fit the backbone"):
            backbones.load_weights(plain, path)
    with h5py.File(tmp_path / "huge.h5", "w") as file:  # 3 KB that are 3 GB.
        file.create_dataset("logits/kernel", (40_000, 20_000), "f4", chunks=(1000, 1000))
    with pytest.raises(Mistake, match="must have at most"):
        yamnet.head(tmp_path / "huge.h5")
    with h5py.File(tmp_path / "yamnet.h5", "w") as file:
        given = [(str(secret), 0, 1024 * 521 * 4)]
        file.create_dataset("logits/kernel", (1024, 521), "f4", external=given)
        file.create_dataset("logits/bias", data=np.zeros(521, np.float32))
    with pytest.raises(Mistake, match="its own numbers"):
        yamnet.head(tmp_path / "yamnet.h5")


@pytest.mark.parametrize(
    "foreign",
    [
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "NEVER"]}},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "NEVER"}},
    ],
)
def test_presets_name_no_other_classes(foreign: Any, tmp_path: Path, never: str) -> None:
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        max_sequence_length=8,
    )
    backbone.save_to_preset(str(tmp_path))
    config = tmp_path / "config.json"
    content = read_json(config)
    for key in ("dropout", "dtype"):
        evil = json.loads(json.dumps(foreign).replace("NEVER", never))
        changed = content | {"config": content["config"] | {key: evil}}
        config.write_text(json.dumps(changed))
        if key == "dropout":
            with pytest.raises(Mistake, match="must hold a backbone"):
                open_backbone("BertBackbone", tmp_path, weights=False)
        else:  # It is ours to say, and what stands there is not looked at.
            open_backbone("BertBackbone", tmp_path, weights=False)


def attacked(model: Path, to: str) -> None:
    """An attacker's program in the place of a model's, with all that says it is ours."""
    evil = programs.model(model.parent / ".evil", programs.IN_A_SIGNATURE[0][1], to)
    manifest = read_json(model / MANIFEST)
    shutil.copy(evil / "saved_model.pb", model)
    shutil.rmtree(evil)
    manifest.pop("files")
    programs.signed_off(model, **manifest)


def test_predict(tmp_path: Path, pushed: Path, never: str) -> None:
    """One by one, in bulk, moment by moment, and the check of its golden examples."""
    version = shutil.copytree(pushed, tmp_path / "version")
    attacked(version, never)
    here = InProcess(tmp_path)
    write_classes(tmp_path / "photos", 2)
    for flags in (["photos/ant/0.png"], ["photos", "-o", "said.jsonl"], ["--check"]):
        done = here("predict", version, *flags)
        assert done.returncode == 2, done.stderr
        assert "must only compute, got the operation 'WriteFile'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_scheduled_run(here: InProcess, tiny_recipe: Path, never: str) -> None:
    """The last blessed model is asked only after it was looked through."""
    first = here.result(tiny_recipe)
    attacked(Path(first["pushed"]), never)
    done = here.run(tiny_recipe, "--head.epochs", 3)
    assert done.returncode == 2, done.stderr
    assert f"{first['pushed']} must only compute, got the operation 'WriteFile'" in done.stderr
