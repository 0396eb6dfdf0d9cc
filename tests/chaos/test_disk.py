"""A disk that is full, or fails: one line, nothing is lost, and with room the run goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import disk
from components.served.manifest import verify_manifest
from models.mistakes import Mistake
from tests.conftest import ROOT, InProcess, write_classes


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which can be made larger."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=700k", "none", str(place)]
    if os.geteuid() or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may mount a small disk, and not everywhere")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_full_disk(tmp_path: Path, small: Path) -> None:
    """As often as it is full, wherever that is met, until there is room."""
    write_classes(tmp_path / "photos", 16)
    here = InProcess(tmp_path)
    words = (
        *("run", "photos", "photos", "--model.backbone", "ConvNet", "--model.weights", "none"),
        *("--photos.input-size", 16, "--head.epochs", 2, "--head.features", "last"),
        *("--fine-tune.unfreeze", 1, "--fine-tune.epochs", 1, "--bless.no-beat-trivial"),
        *("--augment.views", 1, "--control.enabled", "false", "--json"),
        *("--store", small / "store", "--serving-dir", small / "serving"),
    )
    full = 0
    for size in (200, 500, 900, 1300, 1700, 2100, 4000):
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(small)], check=True)
        done = here(*words)
        versions = [p for p in (small / "serving").glob("*") if p.name.isdecimal()]
        if done.returncode == 0:
            break
        full += 1
        assert done.returncode == 2, done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("run_pipeline.py: the disk must "), done.stderr
        assert "Traceback" not in done.stderr
        for version in versions:  # Where it was full after the push.
            verify_manifest(version)
        assert not [*(small / "store" / "runs").glob(".*")]
    assert done.returncode == 0, done.stderr
    assert [p.name for p in versions] == ["1"]
    assert full >= 3


def test_what_libraries_say_of_a_disk(tmp_path: Path) -> None:
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EIO, "Input/output error"),
        RuntimeError("UNKNOWN: /x: No space left on device"),
        OSError("Not enough disk space. Needed: Unknown size"),
    ):
        wrapped = RuntimeError("in a library")
        wrapped.__cause__ = error
        for each in (error, wrapped):
            assert "make room" in str(disk.mistake_of(each, tmp_path))
    assert disk.mistake_of(ValueError("no space in this name")) is None
    with pytest.raises(Mistake, match=r"room for the model: 1000000\.0 GB"):
        disk.require_room(tmp_path / "not" / "there", 10**15, "the model")


@pytest.mark.parametrize("why", ["No space left on device", "anything else"])
def test_what_was_said_of_a_disk_is_not_said_again(why: str) -> None:
    """HDF5 does, of each part of a file that it could not close."""
    code = (
        "import sys; from pipeline.stopping import on_signals; on_signals()\n"
        "class Part:\n    def __del__(self): raise RuntimeError(f'it failed: {sys.argv[1]}')\n"
        "part = Part(); del part"
    )
    command = [sys.executable, "-c", code, why]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stderr == "") == (why == "No space left on device")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_kill_matrix() -> None:
    """A chain of it, in which each stage is hit; `python -m tests.chaos.matrix` has them all."""
    command = [sys.executable, "-m", "tests.chaos.matrix", "--chains", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[-1] == "0"
