"""The commands of the README and of docs/ are run, and what they show is what is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.modalities.table import MODALITIES
from pipeline.config import Config
from pipeline.recipe import RECIPES
from tests.audio_presets import write_audio_preset
from tests.components.modalities.test_sounds import write_tones
from tests.conftest import ROOT, InProcess, write_classes
from tests.presets import sentences, write_preset

PAGES = {
    path.name: path.read_text() for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
}
ALL = "\n".join(PAGES.values())


def commands() -> list[list[str]]:
    """Every `python run_pipeline.py …` in a block of shell, as its words, each once."""
    blocks = re.findall(r"```sh\n(.*?)```", ALL, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [line.split("#")[0].strip() for line in lines if "run_pipeline.py" in line]
    words = [shlex.split(line.partition("run_pipeline.py")[2]) for line in found]
    return [list(each) for each in dict.fromkeys(map(tuple, words))]


@pytest.mark.slow
def test_the_commands_of_the_readme(here: InProcess) -> None:
    """In their order, on small examples; the giants without the weights they would download."""
    write_classes(here.directory / "PHOTOS", 12)
    for label, name in enumerate(("bad", "good")):
        (here.directory / "REVIEWS" / name).mkdir(parents=True)
        for number, text in enumerate(sentences(label, 12)):
            (here.directory / "REVIEWS" / name / f"{number}.txt").write_text(text)
    rows = [
        f"PHOTOS/{p.parent.name}/{p.name},{p.parent.name},{n % 7},{n % 5},{n // 2 % 3}"
        for n, p in enumerate(sorted((here.directory / "PHOTOS").rglob("*.*")))
    ]
    table = "\n".join(["path,species,age,site,fold", *rows])
    (here.directory / "PHOTOS.csv").write_text(table)
    splits = ("train", "train", "validation", "test")
    named = [f"{row.rsplit(',', 3)[0]},{splits[n % 4]}" for n, row in enumerate(rows)]
    (here.directory / "RENAMED.csv").write_text("\n".join(["filename,class,part", *named]))
    preset = write_preset("BERT", here.directory / "bert")
    shutil.copy(here.directory / "PHOTOS" / "ant" / "1.jpeg", here.directory / "PHOTO.jpg")
    pictures = ["--model.weights", "none", "--photos.input-size", "32"]
    texts = ["--model.backbone", str(preset), "--sentences.sequence-length", "16"]
    write_tones(here.directory / "SOUNDS", 12)
    heard = ["--model.backbone", "ConvNet", "--model.weights", "none", "--sounds.seconds", "0.4"]
    said = ["--model.backbone", str(write_audio_preset("Whisper", here.directory / "whisper"))]
    said += ["--sounds.seconds", "0.4"]
    small_of = {"sentiment": texts, "topics": texts, "sounds": heard, "speech": said}
    shutil.copy(here.directory / "SOUNDS" / "low" / "0.wav", here.directory / "RECORDING.wav")
    ran = set()
    for command in commands():
        changed = command
        if command[0] == "submit":  # There is no Kubeflow here: it is not found, and nothing else.
            refused = here(*command)
            assert refused.returncode == 2
            assert "--host must be Kubeflow Pipelines' API" in refused.stderr
            ran.add("submit")
            continue
        if command[0] in ("advise", "tune", "learning-curve"):
            changed = [*command, *pictures, "--head.epochs", "1", "--bless.force", "a test"]
            changed += ["--control.enabled", "false", "--fine-tune.epochs", "1"]
            small = {"--giants": "ConvNet=none,SmallConvNet=none", "--trials": "2"}
            for flag in small.keys() & set(changed):
                changed[changed.index(flag) + 1] = small[flag]
            changed += ["--model.backbone", "ConvNet"]
        if command[0] in ("run", "plan"):
            changed = [*command, *small_of.get(command[1], pictures), "--bless.force", "a test"]
            changed += ["--head.epochs", "1", "--fine-tune.epochs", "1"]
            changed += ["--control.enabled", "false"]  # It takes as long as all else.
        done = here(*changed)
        assert done.returncode == 0, (command, done.stderr)
        ran.add(command[0])
    asked = {"advise", "tune", "learning-curve", "match"}
    assert ran == {"run", "show", "plan", "runs", "predict", "prune", "compile", "submit"} | asked
    shutil.copy(here.directory / "RECORDING.wav", here.directory / "SOUND.wav")
    for model in asked_by_curl():
        answers_curl(here.directory, model)


def asked_by_curl() -> dict[str, str]:
    """The name of each model that is asked by curl → the command."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", ALL, re.DOTALL))
    commands = re.findall(r"^(?:\{.*\|\n +)?curl .*$", blocks, re.MULTILINE)
    found = {re.findall(r"models/(\w+):predict", command)[0]: command for command in commands}
    assert found.keys() == {"photos", "sentiment", "sounds"}
    return found


def answers_curl(directory: Path, model: str) -> None:
    """`serve` answers what TensorFlow Serving is asked."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", model, "--port", "0"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        place = next(text for text in server.stderr if "POST " in text).split()[-1]
        port = re.findall(r":(\d+)/", place)[0]
        asked = asked_by_curl()[model].replace("localhost:8501", f"localhost:{port}")
        told = subprocess.run(
            ["bash", "-c", asked], cwd=directory, capture_output=True, text=True, check=True
        )
        server.terminate()
        assert server.wait(20) == 0
    assert json.loads(told.stdout)["predictions"][0]["valid"], told.stdout


def test_the_flags_that_are_named_exist(in_process: Callable[..., Any]) -> None:
    """With their values, where the README gives them."""
    named = [shlex.split(flags) for flags in re.findall(r"`(--[a-z][\w-]*\.[^`]+)`", ALL)]
    assert len(named) > 25
    recipes = {MODALITIES["text"].section: "sentiment", MODALITIES["sound"].section: "sounds"}
    for words in named:
        section, key = words[0].lstrip("-").replace("-", "_").split(".")
        assert key in type(getattr(Config(), section)).model_fields, words[0]
        if len(words) > 1:
            status, _, err = in_process("show", recipes.get(section, "photos"), *words)
            assert status == 0, (words, err)


def test_recipes_and_stages_that_are_named_exist() -> None:
    for recipe in re.findall(r"run_pipeline.py (?:run|plan|show) (\w+)", ALL):
        assert (RECIPES / f"{recipe}.toml").is_file()
    for path in re.findall(r"`((?:pipeline|components|models|tests)/[\w/]+\.py)`", ALL):
        assert (ROOT / path).is_file(), path


def test_the_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = ALL + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)\b", text, re.MULTILINE))
    assert named <= targets


def test_the_readme_can_be_read_at_once() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150
    assert (ROOT / "docs" / "report.png").stat().st_size <= 200_000
    pictures = [path.stat().st_size for path in ROOT.glob("docs/studio-*.webp")]
    assert len(pictures) == 4
    assert sum(pictures) <= 400_000


def test_links_lead_somewhere() -> None:
    for name, text in PAGES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (folder / link).exists(), (name, link)


@pytest.mark.slow
def test_the_pages_are_a_site(tmp_path: Path) -> None:
    """Without a warning, such as of a link to a heading that is not there."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / ".mkdocs.yml")]
    subprocess.run(
        [*build, "-d", str(tmp_path)],
        check=True,
        capture_output=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert (tmp_path / "training" / "index.html").is_file()


def test_the_lock_names_no_registry_and_has_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    requirements = re.findall(r"^[\w.-]+==.*$", lock, re.MULTILINE)
    assert len(requirements) > 50
    assert all(line.rstrip().endswith("\\") for line in requirements)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_no_stray_files_at_the_top() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    top = {Path(path).parts[0] for path in tracked}
    assert not top - {
        *(".ci", ".dockerignore", ".gitignore", ".mkdocs.yml", "Dockerfile", "Makefile"),
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "docs"),
        *("components", "models", "pipeline", "run_pipeline.py", "tests"),
        *("pyproject.toml", "requirements.lock"),
    }
