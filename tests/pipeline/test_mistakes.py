"""Bad input: one line that names the field, the rule and the value; exit 2; nothing left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from models.mistakes import Mistake
from pipeline import api
from tests.audio_presets import write_audio_preset
from tests.conftest import picture, write_classes
from tests.image_presets import write_image_preset
from tests.presets import write_preset, write_table

Call = Callable[..., Any]

CONFIG = [
    # (arguments after `run`, what the line must say)
    (["nosuch"], "RECIPE must be a recipe's name or a TOML file, got 'nosuch'"),
    (["photos", "--data.path", "nowhere"], "data.path must exist, got 'nowhere'"),
    (["photos"], "data.path must name labelled examples, got nothing"),
    (["digits", "--head.epoch", "3"], "--head.epoch. Did you mean --head.epochs?"),
    (["digits", "--head.epochs", "0"], "head.epochs must be at least 1, got '0'"),
    (["digits", "--head.epochs", "many"], "head.epochs must be an integer"),
    (["digits", "--augment.views", "0"], "augment.views must be 1 to 64, or 'fresh', got 0"),
    (
        ["digits", "--extract.budget", "lots"],
        "extract.budget must be a size such as 500MB, got 'lots'",
    ),
    (["digits", "--fine-tune.precision", "int4"], "fine-tune.precision must be auto, "),
    (["digits", "--augment.views=-1"], "augment.views must be 1 to 64, or 'fresh', got -1"),
    (["digits", "--augment.policies", "flop"], "got 'flop': did you mean flip"),
    (["digits", "--model.backbone", "MobilNetV2"], "got 'MobilNetV2': did you mean MobileNetV2"),
    (
        ["digits", "--model.weights", "gone.h5"],
        "model.weights must be pretrained, imagenet, none, pretrain",
    ),
    (["digits", "--model.weights", "imagenet"], "ConvNet, which has no published weights"),
    (["digits", "--data.classes", "12"], "data.classes must be classes of 'digits', got '12'"),
    (["digits", "--serving-dir", "/proc/models"], "--serving-dir must be a directory that can be"),
    (["digits", "--bless.at-least", "accuracy=1.5"], "must be from 0 to 1 for accuracy, got 1.5"),
]


@pytest.mark.parametrize(("arguments", "said"), CONFIG, ids=lambda value: str(value)[:40])
def test_mistake_in_the_command(
    in_process: Call, tmp_path: Path, arguments: list[str], said: str
) -> None:
    status, out, err = in_process("run", *arguments, "--store", tmp_path / "store")
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err
    assert [p.name for p in (tmp_path / "store").glob("*")] in ([], ["lock"])


def test_misspelt_keys_in_a_recipe(in_process: Call, tmp_path: Path) -> None:
    for text, said in (
        (
            "[head]\nlearning_rat = 1",
            "must have keys of the config, got head.'learning_rat': did you mean learning_rate",
        ),
        ("[hed]\nepochs = 1", "got 'hed': did you mean head"),
        ("[head\nepochs = 1", "mine.toml must be TOML"),
        ("[head]\nepochs = -1", "head.epochs must be at least 1, got -1"),
    ):
        (tmp_path / "mine.toml").write_text(text)
        status, _, err = in_process("run", tmp_path / "mine.toml", "--store", tmp_path / "store")
        assert status == 2
        assert said in err, err
        assert len(err.splitlines()) == 1


def _no_images(root: Path) -> Path:
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        (root / label / "notes.txt").write_text("not a picture")
    return root


def _broken(root: Path) -> Path:
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for number in range(6):
            (root / label / f"{number}.png").write_text("not a picture")
    return root


def _nothing(root: Path) -> Path:
    (root / "ant").mkdir(parents=True)
    return root


def _one_class(root: Path) -> Path:
    return write_classes(root, 10, ("ant",))


def _empty_class(root: Path) -> Path:
    write_classes(root / "train", 6)
    write_classes(root / "test", 6, ("ant",))
    return root


def _empty_folder(root: Path) -> Path:
    write_classes(root, 6)
    (root / "cat").mkdir()
    return root


def _leak(root: Path) -> Path:
    write_classes(root / "train", 6)
    (root / "test" / "ant").mkdir(parents=True)
    (root / "test" / "bee").mkdir()
    (root / "test" / "ant" / "same.png").write_bytes(picture(0, 0))
    (root / "test" / "bee" / "other.png").write_bytes(picture(1, 77))
    return root


def _table(text: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        path = root.with_suffix(".csv")
        path.write_text(text)
        return path

    return write


DATA: list[tuple[Callable[[Path], Path], str]] = [
    (_no_images, "data.path must hold pictures, got"),
    (_broken, "must give at least one usable example for each of train, validation, test"),
    (_one_class, "data.path must have at least two classes, got 'ant' alone"),
    (_empty_class, "must have examples of every class in test, got none of 'bee'"),
    (_leak, "must not have one example in two splits, got 'test/ant/same.png' in test"),
    (_table("file,label\na.png,ant\n"), "must have the column 'path', got"),
    (_table("path,label\na.png,1\nb.png,2\nc.png,3\n"), "whose column 'label' is all different"),
    (_table("path,label,split\na.png,1,tset\nb.png,1,\n"), "got 'tset': did you mean test"),
    (_table("path,label\n"), "data.path must have rows"),
    (_table("path,label\na.png,x\nb.png\n"), "must have a 'label' in every row, got row 2"),
    (_table("path,label\na.png,x\n,x\n"), "must have a 'path' in every row, got row 2"),
    (_empty_folder, "with an empty folder 'cat'"),
    (_nothing, "must hold class folders"),
]


@pytest.mark.parametrize(("write", "said"), DATA, ids=[said[:40] for _, said in DATA])
def test_mistake_in_the_data(
    in_process: Call, tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    path = write(tmp_path / "data")
    store = tmp_path / "store"
    arguments = (
        *("--data.path", path, "--model.backbone", "ConvNet", "--model.weights", "none"),
        *("--fine-tune.unfreeze", "1"),
    )
    status, _, err = in_process("run", "photos", *arguments, "--store", store)
    assert status == 2
    assert said in err.splitlines()[-1], err
    assert "Traceback" not in err
    assert not list(store.glob("train_head/*"))
    assert not [
        p
        for p in store.glob("*/*")
        if p.parent.name not in ("runs", "scratch")
        and p.is_dir()
        and not (p / "artifact.json").exists()
    ]


def test_weights_that_cannot_be_had(
    in_process: Call, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    import keras

    monkeypatch.setattr(keras.utils, "get_file", _unreachable)
    for module in ("mobilenet_v2",):
        source = __import__(f"keras.src.applications.{module}", fromlist=[module])
        monkeypatch.setattr(source.file_utils, "get_file", _unreachable)
    status, _, err = in_process("run", "photos", "--data.path", photos, "--store", tmp_path / "s")
    assert status == 2
    assert "put mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 into" in err
    assert "--model.weights" in err


def _unreachable(*_: object, **__: object) -> None:
    raise OSError("URL fetch failure: no route to host")


def test_weights_that_do_not_fit_and_blocks_that_are_not_there(
    in_process: Call, tmp_path: Path, tiny_recipe: Path
) -> None:
    (tmp_path / "bad.h5").write_bytes(b"not HDF5")
    store = ("--store", tmp_path / "store")
    status, _, err = in_process("run", tiny_recipe, *store, "--model.weights", tmp_path / "bad.h5")
    assert status == 2
    assert "model.weights must fit the backbone small_convnet" in err.splitlines()[-1]
    status, _, err = in_process("run", tiny_recipe, *store, "--fine-tune.unfreeze", "block9")
    assert status == 2
    assert "fine_tune.unfreeze must be a block of the network, got 'block9'" in err
    assert "did you mean block" in err
    status, _, err = in_process("run", tiny_recipe, *store, "--fine-tune.unfreeze", "9")
    assert status == 2
    assert "fine_tune.unfreeze must be between 0 and the network's 3 blocks, or 'all', got 9" in err


def test_predict_names_what_is_wrong(in_process: Call, tmp_path: Path) -> None:
    status, _, err = in_process("predict", tmp_path, "a.jpg")
    assert status == 2
    assert "MODEL must be the directory of a version" in err


LIMITS = [
    # (recipe, the family of its preset, what is asked for, what the line must say)
    ("sentiment", "BERT", {"sentences.sequence_length": 5000}, "must be at most the"),
    ("photos", "ViT", {"photos.input_size": 40}, "photos.input_size must be"),
    ("photos", "ResNet", {"model.pooling": "cls"}, "model.pooling must be one of auto, avg"),
    ("photos", "", {"model.backbone": "MobileNetV2", "photos.input_size": 16}, "at least 32"),
    ("sounds", "Whisper", {"sounds.seconds": 31.0}, "sounds.seconds must be at most"),
    ("sounds", "Whisper", {"sounds.hop": 12.0, "sounds.longest": 40.0}, "sounds.hop must be"),
]


@pytest.mark.parametrize(("recipe", "family", "changes", "said"), LIMITS, ids=str)
def test_limits_of_a_giant_are_told_by_the_plan(
    tmp_path: Path, recipe: str, family: str, changes: dict[str, Any], said: str
) -> None:
    """Before hours of work, and of whatever is unfrozen."""
    write: dict[str, Callable[[str, Path], Path]] = {
        "sentiment": write_preset,
        "photos": write_image_preset,
        "sounds": write_audio_preset,
    }
    write_classes(tmp_path / "photos", 8)
    write_table(tmp_path / "sentiment.jsonl", 8)
    (tmp_path / "sounds").mkdir()
    for number in range(16):
        wav = tmp_path / "sounds" / "ab"[number % 2] / f"{number}.wav"
        wav.parent.mkdir(exist_ok=True)
        soundfile.write(wav, np.sin(np.arange(8000) * (number + 1) / 30), 16_000)
    data = tmp_path / ("sentiment.jsonl" if recipe == "sentiment" else recipe)
    asked = {"data.path": str(data), "fine_tune.epochs": 0, "model.weights": "none", **changes}
    if family:
        asked["model.backbone"] = str(write[recipe](family, tmp_path / "preset"))
    with pytest.raises(Mistake, match=said):
        api.plan(recipe, asked, store=tmp_path / "store")
