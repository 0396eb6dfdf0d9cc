"""TensorBoard: its server starts in this environment, and lists runs under names of people."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipeline.boards import Boards
from tests.conftest import InProcess


def curves(directory: Path) -> Path:
    """An artifact whose stage has written curves."""
    (directory / "tensorboard" / "train").mkdir(parents=True)
    (directory / "tensorboard" / "train" / "events").write_text("curve")
    return directory


def test_a_run_that_did_not_end_keeps_its_curves(tmp_path: Path) -> None:
    """Whoever goes on writes into the same folder; what was done before is still linked."""
    done, begun = curves(tmp_path / "train_head" / "a"), curves(tmp_path / "fine_tune" / "b")
    (done / "artifact.json").write_text("{}")
    boards = Boards(tmp_path, "RUN")
    boards.link("train_head", done)
    boards.link("fine_tune", begun)
    boards.abort("stopped")
    (begun / "tensorboard" / "train" / "events").write_text("another curve")
    kept = tmp_path / "tensorboard" / "RUN.stopped"
    assert (kept / "train_head" / "train" / "events").read_text() == "curve"
    assert (kept / "fine_tune" / "train" / "events").read_text() == "curve"
    assert (kept / "train_head").is_symlink()
    assert not (kept / "fine_tune").is_symlink()
    assert not boards.directory.exists()


def test_a_run_that_trained_nothing_is_not_listed(tmp_path: Path) -> None:
    boards = Boards(tmp_path, "RUN")
    boards.write({"a": 1}, {"accuracy": 1.0})
    boards.abort("failed")
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.slow
def test_the_server_lists_the_runs(here: InProcess, tiny_recipe: Path) -> None:
    """By their names, with loss and accuracy, the test figures, and HPARAMS."""
    run_id = here.result(tiny_recipe)["run_id"]
    assert here.result(tiny_recipe)["outcome"] == "unchanged"  # It is no second run there.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(here.store / "tensorboard"),
    ]
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def ask(path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{port}/data/{path}"
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
            return json.load(answer)

    try:
        wanted = {run_id, *(f"{run_id}/{p}/{s}" for p in PHASES for s in ("train", "validation"))}
        until = time.monotonic() + 60
        listed: set[str] = set()
        while listed != wanted and time.monotonic() < until:
            time.sleep(0.5)
            assert server.poll() is None
            try:
                listed = {*ask("runs")}
            except OSError:
                continue
        assert listed == wanted
        tags = ask("plugin/scalars/tags")
        assert "test/accuracy" in tags[run_id]
        assert {"epoch_loss", "epoch_accuracy"} <= {*tags[f"{run_id}/fine_tune/validation"]}
        request = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN"], "sliceSize": 10}
        groups = ask("plugin/hparams/session_groups", request)
        assert "head.epochs" in json.dumps(groups)
    finally:
        server.kill()
        server.wait()


PHASES = ("train_head", "fine_tune")
