"""What a person tries first, and the line that says what to do instead.

Each row was tried on the version before; what it said then is in the history of this file's issue.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import InProcess, write_classes

Call = Callable[..., Any]
# What is no mistake, and ends with 0.
NO_WEIGHTS = ("--model.weights", "none", "--model.backbone", "ConvNet", "--fine-tune.unfreeze", "1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies about where somebody works."""
    home = tmp_path_factory.mktemp("home")
    write_classes(home / "photos", 20, ("cats", "dogs"))
    write_classes(home / "oneclass", 8, ("cats",))
    write_classes(home / "three", 1, ("cats", "dogs"))
    for label in ("cats", "dogs"):
        for folder, suffix in (("webp", "webp"), ("reviews", "txt")):
            (home / folder / label).mkdir(parents=True)
            for number in range(8):
                path = home / folder / label / f"{number}.{suffix}"
                if suffix == "txt":
                    path.write_text(f"{label} are number {number}")
                else:
                    shade = np.full((20, 20, 3), 9 * number + 80 * (label == "dogs"), np.uint8)
                    Image.fromarray(shade).save(path, lossless=True)
    shutil.copytree(home / "photos" / "cats", home / "flat")
    (home / "empty").mkdir()
    (home / "photos.zip").write_bytes(b"PK")
    (home / "sheet.xlsx").write_bytes(b"PK")
    rows = [(f"photos/{p.parent.name}/{p.name}", p.parent.name) for p in photos_of(home)]
    for name, columns, delimiter in (
        ("renamed.csv", ("filename", "class"), ","),
        ("semicolon.csv", ("path", "label"), ";"),
        ("tabs.csv", ("path", "label"), "\t"),
        ("tabs.tsv", ("path", "label"), "\t"),
    ):
        with (home / name).open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([columns, *rows])
    (home / "texts.csv").write_text("text,label\ngood,1\nbad,0\n" * 5)
    return home


def photos_of(home: Path) -> list[Path]:
    return sorted((home / "photos").rglob("*.*"))


# (what is typed, what the line says)
MISTAKES = [
    ("run photos --data photos", "--data is no flag: did you mean --data.path?"),
    ("run photos photos --model resnet50", "--model is no flag: did you mean --model.backbone?"),
    (
        "run photos photos --lr 1e-3",
        "did you mean --head.learning-rate or --fine-tune.learning-rate?",
    ),
    ("run photos photos --epochs 5", "did you mean --head.epochs or --fine-tune.epochs?"),
    (
        "run photos photos --batch-size 16",
        "did you mean --head.batch-size or --fine-tune.batch-size?",
    ),
    ("run photos photos --backbone ResNet50", "did you mean --model.backbone?"),
    ("run photos photos --unfreeze 3", "did you mean --fine-tune.unfreeze?"),
    ("run photos photos --control", "did you mean --control.enabled?"),
    ("run photos photos --gpu", "did you mean --runtime.backend or --runtime.distribution?"),
    ("run photos photos --output models", "did you mean --serving-dir?"),
    ("run photos photos --dry-run", "--dry-run is no flag: say plan instead of run"),
    ("run photos photos --workers 4", "--workers is no flag: all cores are used"),
    ("run photos photos --resume", "the same command again goes on where it stopped"),
    ("run photos photos --fine-tune 3", "--fine-tune is a section of flags: see --help fine-tune"),
    ("run photos photos --data-path x", "--data-path. Did you mean --data.path?"),
    ("run photos photos --head.epoch 5", "--head.epoch. Did you mean --head.epochs?"),
    ("run photos photos --head.epochs -1", "--head.epochs must be at least 1, got '-1'"),
    ("run photos photos --head.dropout 50%", "--head.dropout must be a number, got '50%'"),
    ("run photos photos --seed lucky", "--seed must be an integer, got 'lucky'"),
    ("run photos photos --head.learning-rate fast", "must be above 0 and at most 10, or 'auto'"),
    ("run photos photos --control.budget soon", "control.budget must be a time such as 30m"),
    ("run photos photos --bless.at-least accuracy=95", "from 0 to 1 for accuracy, got 95"),
    ("run photos photos --bless.at-least acuracy=0.9", "'acuracy=0.9': did you mean accuracy?"),
    ("run photos photos --bless.min-accuracy 0.9", "is now --bless.at-least accuracy=VALUE"),
    ("run photos photos --task classification", "got 'classification': did you mean one_label?"),
    ("run photos photos --task regression", "got 'regression': did you mean number?"),
    ("run photos photos --augment.policies flop", "got 'flop': did you mean flip?"),
    (
        "run photos photos --model.backbone bert-base",
        "got 'bert-base': known: ConvNet, SmallConvNet",
    ),
    ("run photos photos --model.weights imagnet", "model.weights must be pretrained, imagenet,"),
    (
        "plan photos photos --model.weights none --fine-tune.unfreeze block_99",
        "fine_tune.unfreeze must be a block of the network, got 'block_99': did you mean block_9",
    ),
    (
        "plan photos photos --model.weights none --fine-tune.unfreeze 99",
        "fine_tune.unfreeze must be between 0 and the network's 18 blocks, or 'all', got 99",
    ),
    ("run photos photos --store photos.zip", "--store must be a directory that can be written"),
    ("run photos photos again", "nothing behind the recipe and the path, got 'again'"),
    ("run photos photos --data.path empty", "the examples must be named once, got 'photos' and"),
    ("run --data.path photos", "RECIPE must be given where there is a path, got 'photos' alone"),
    ("run photos", "got nothing: name them behind the recipe, run RECIPE PATH"),
    ("run photo photos", "got 'photo': did you mean photos?"),
    ("run photos/ photos", "RECIPE must come before the examples, got 'photos/', which is no TOML"),
    ("run photos nowhere", "data.path must exist, got 'nowhere'"),
    ("run photos Photos", "data.path must exist, got 'Photos': did you mean photos?"),
    ("run photos photos/cats/1.jpeg", "got 'photos/cats/1.jpeg': name the folder with the class"),
    ("run photos photos.zip", "got 'photos.zip': unpack it, and name the folder"),
    ("run photos sheet.xlsx", "got 'sheet.xlsx': save it as CSV"),
    ("run photos s3://bucket/photos", "must be on a disk of this machine, got 's3://bucket"),
    ("run photos empty", "data.path must hold class folders with examples in them, got 'empty'"),
    ("run photos flat", "got 'flat' with 20 files in no class folder: flat/CLASS/FILE"),
    ("run photos oneclass", "data.path must have at least two classes, got 'cats' alone"),
    ("run photos three", "at least 4 examples of a class, to train, validate and test with, got"),
    ("run photos three", "with 2: cats 1, dogs 1"),
    ("run sentiment photos", "data.path must hold texts, got 'photos' with 40 pictures"),
    ("run photos reviews", "data.path must hold pictures, got 'reviews' with 16 texts"),
    ("run photos texts.csv", "'text', 'label': it has texts, which --data.modality text reads"),
    ("run photos renamed.csv", "name yours with --data.input-column, and that of the answers with"),
    ("run photos webp", "is a WEBP image; only JPEG and PNG are served: --data.convert"),
    ("train photos", "the command must be one of ours, got 'train': did you mean run?"),
    ("photos photos", "the command must come first, got the recipe 'photos': run photos"),
    ("prdict photos 1.png", "got 'prdict': did you mean predict?"),
    ("runs photos --store empty", "runs in 'empty', got 'photos': there are none at all"),
    ("run --help heads", "--help must be of all or of a section, got 'heads': did you mean head?"),
    ("predict nowhere photos/cats/1.jpeg", "or a name in the store, got 'nowhere'; "),
]
RIGHT = [
    "plan photos photos",
    "plan --recipe photos --path photos",
    "plan photos --data.path ~/photos",
    "plan photos renamed.csv --data.path-column filename --data.label-column class",
    "plan photos semicolon.csv",
    "plan photos tabs.tsv",
    "plan photos tabs.csv",
    "plan photos webp --data.convert",
    "plan photos photos --augment.policies flip,rotation",
    "plan photos photos --head.learning_rate 1e-3",
]


@pytest.mark.parametrize(("typed", "said"), MISTAKES)
def test_what_a_mistake_is_told(
    home: Path, typed: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    # Of what is typed only what is wrong; nothing of a giant is asked for.
    needs = typed.startswith("run") and " webp" in typed
    done = InProcess(home)(*typed.split(), *(NO_WEIGHTS if needs else ()))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.splitlines()[-1]
    if not needs:
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("typed", RIGHT)
def test_what_is_taken_as_it_is_meant(
    home: Path, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    done = InProcess(home)(*typed.split(), *NO_WEIGHTS)
    assert done.returncode == 0, done.stderr
    assert "ingest" in done.stdout


@pytest.mark.parametrize("name", ["ResNet-50", "resnet50", "mobilenet_v2", "EfficientNet-B0"])
def test_giants_by_any_spelling(home: Path, name: str) -> None:
    done = InProcess(home)(
        *("plan", "photos", "photos", "--model.backbone", name, "--model.weights", "none"),
        *("--fine-tune.unfreeze", "0"),
    )
    assert done.returncode == 0, done.stderr


def test_webp_is_taken_in_as_png(home: Path, tmp_path: Path) -> None:
    """As it was decoded, without loss; the model is asked for PNG."""
    store = tmp_path / "store"
    result = json.loads(
        InProcess(home)(
            *("run", "photos", "webp", "--data.convert", *NO_WEIGHTS, "--photos.input-size", 16),
            *("--head.epochs", 1, "--fine-tune.epochs", 1, "--bless.force", "a test"),
            *("--augment.views", 1, "--store", store, "--json"),
        ).stdout
    )
    ingest = result["stages"][0]["stats"]
    assert sum(ingest[split] for split in ("train", "validation", "test")) == 16
    assert ingest["quarantined"] == 0


def test_help_has_what_matters_first(home: Path) -> None:
    run = InProcess(home)("run", "--help").stdout
    assert len(run.splitlines()) < 75
    assert "--fine-tune.unfreeze" in run
    assert "--help all" in run
    everything = InProcess(home)("run", "--help", "all").stdout
    assert "--fine-tune.lora-rank" in everything
    assert "--fine-tune.lora-rank" not in run
    one = InProcess(home)("run", "--help", "fine-tune").stdout
    assert "--fine-tune.lora-rank" in one
    assert "--head.epochs" not in one
    assert InProcess(home)("--version").stdout.startswith("Shoulders ")
    assert "predict" in InProcess(home)("help").stdout
