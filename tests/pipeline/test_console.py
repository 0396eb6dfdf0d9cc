"""What a person sees while a run goes on."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import time
from pathlib import Path

import pyte
import pytest
from rich.console import Console as Terminal

from pipeline.console import Console, Running
from pipeline.estimates import Estimate
from pipeline.records import Step
from tests.conftest import ROOT


def shown(running: Running, width: int) -> str:
    """The line as a terminal of this width has it."""
    terminal = Terminal(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with terminal.capture() as capture:
        terminal.print(running)
    return capture.get().rstrip("\n")


def test_where_nobody_knows_how_much_there_is_a_spinner() -> None:
    running = Running("4/11 extract", None)
    assert "None" not in shown(running, 80)
    running.at("compiling", 0, 0, "")
    assert "4/11 extract" in shown(running, 80)
    assert shown(running, 80).rstrip().endswith("compiling")
    assert "━" not in shown(running, 80)


def test_a_bar_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    running = Running("6/11 fine_tune", None)
    running.at("steps", 0, 100, "")
    now = 1010.0
    running.at("steps", 25, 100, "validation loss 0.500")
    line = shown(running, 120)
    assert "━" in line
    assert "~30 s left" in line
    assert "25/100 steps, validation loss 0.500" in line
    now = 1020.0
    running.at("steps", 100, 100, "")
    line = shown(running, 120)  # What comes after it is not counted.
    assert "━" not in line
    assert "finishing" in line
    assert "20 s" in line


def test_what_it_took_the_last_time_tells_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    running = Running("1/2 ingest", 200.0)
    now = 20.0
    assert "~3 min left" in shown(running, 80)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_line_is_never_wrapped(width: int) -> None:
    running = Running("16/22 control.train_from_scratch", 3000.0)
    running.at("steps of train_from_scratch, epoch 3 of 60", 412, 868, "validation loss 0.123")
    assert len(shown(running, width).splitlines()) == 1
    assert len(shown(running, width)) <= width


def test_stages_are_numbered_and_the_last_times_told(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    steps = [Step("ingest", "reused", 0, "", {}), Step("extract", "would run", 0, "", {})]
    console.open("photos", steps, {"extract": Estimate(300.0, 10)})
    console.begin("extract")
    console.end(Step("extract", "ran", 1.0, "", {"computed": 3}), ("computed",), ("A remark.",))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "photos: 2 stages, 1 of them reused, the others took 5 min the last time"
    assert lines[1] == "2/2 extract … took 5 min the last time"
    assert lines[2].startswith("2/2 extract  ran ")
    assert lines[2].endswith("computed 3")
    assert lines[3] == "      A remark."


@pytest.mark.slow
def test_a_run_in_a_terminal_and_ctrl_c(tmp_path: Path, tiny_recipe: Path) -> None:
    """Of 80 columns: a stage and its number while it is at work; how to go on after Ctrl-C."""
    screen = pyte.HistoryScreen(80, 40, history=1000)
    stream = pyte.ByteStream(screen)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        environment = os.environ | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm-256color"}
        command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(tiny_recipe)]
        os.execve(
            sys.executable,
            [*command, "--head.epochs", "5000", "--head.patience", "5000"],
            environment,
        )
    seen = ""
    interrupted = False
    while True:
        try:
            stream.feed(os.read(terminal, 65536))
        except OSError:  # It has ended.
            break
        now = "\n".join(line.rstrip() for line in screen.display)
        seen += now
        if "train_head" in now and "━" in now and not interrupted:
            os.kill(process, signal.SIGINT)
            interrupted = True
    _, status = os.waitpid(process, 0)
    last = [line.rstrip() for line in screen.display if line.strip()]
    assert os.waitstatus_to_exitcode(status) == 130, last
    assert last[-1] == "run_pipeline.py: stopped; run the same command again to go on"
    assert "6/12 train_head" in seen
    assert "None" not in seen
