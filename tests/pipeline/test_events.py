"""What happens in a run, as it happens."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.events import EVENTS, EventFile, end_file, line
from tests.conftest import ROOT, InProcess


def told(store: Path) -> list[dict[str, Any]]:
    """The events of the only run there is."""
    (path,) = (store / "runs").glob(f"*/{EVENTS}")
    return list(map(json.loads, path.read_text().splitlines()))


def test_a_line_is_json_whatever_a_number_is() -> None:
    """Of which browsers know no NaN."""
    text = line("info", "epoch", {"figures": {"loss": math.nan, "val": [math.inf, 1.5]}})
    assert text.endswith("}\n")
    assert json.loads(text)["figures"] == {"loss": None, "val": [None, 1.5]}
    assert "NaN" not in text


def test_lines_are_whole_and_in_their_order(tmp_path: Path) -> None:
    with EventFile(tmp_path / "run" / EVENTS) as file:
        for number in range(5000):
            file.write(f"{number}\n")
    written = (tmp_path / "run" / EVENTS).read_text().splitlines()
    assert written == list(map(str, range(5000)))


def test_what_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    with EventFile(tmp_path / EVENTS) as file:
        os.close(file._handle)
        file._handle = os.open("/dev/full", os.O_WRONLY)
        for _ in range(100):
            file.write("x\n")


def test_a_killed_process_leaves_what_it_has_told(tmp_path: Path) -> None:
    """But for what it told in its last moment; and each line whole."""
    program = (
        "import itertools, sys, time; from pathlib import Path; from pipeline.events import *\n"
        "with EventFile(Path(sys.argv[1])) as file:\n"
        "    for number in itertools.count():\n"
        "        file.write(f'{number}\\n'); print(number, flush=True); time.sleep(0.001)\n"
    )
    path = tmp_path / EVENTS
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(300):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    found = path.read_text()
    assert found.endswith("\n")
    numbers = list(map(int, found.splitlines()))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= said - 50


def test_a_run_tells_what_happens(tmp_path: Path, tiny_recipe: Path) -> None:
    """Each stage, the epochs with the sizes of their updates, and how it ended."""
    here = InProcess(tmp_path)
    result = here.result(tiny_recipe)
    events = told(here.store)
    first, last = events[0], events[-1]
    assert (first["event"], last["event"]) == ("run began", "run ended")
    assert first["run"] == last["run_id"] == result["run_id"]
    assert first["settings"]["fine_tune.epochs"] == 2
    assert last["outcome"] == "pushed"
    assert last["metrics"] == result["metrics"]
    ended = [e["stage"] for e in events if e["event"] == "stage ended"]
    assert ended == [stage["name"] for stage in first["stages"]]
    epochs = [e for e in events if e["event"] == "epoch" and e["stage"] == "fine_tune"]
    assert [e["epoch"] for e in epochs] == [0, 1]
    assert {"head"} < set(epochs[0]["updates"])
    assert all(0 < ratio < 1 for ratio in epochs[0]["updates"].values())
    (begun,) = (e for e in events if e["event"] == "phase began" and e["stage"] == "fine_tune")
    assert (begun["epochs"], begun["more_is_better"]) == (2, False)
    assert "val_loss" in begun["before"]


def test_json_logs_tell_the_same(tmp_path: Path, tiny_recipe: Path) -> None:
    """But for steps, of which there are many."""
    here = InProcess(tmp_path)
    done = here.run(tiny_recipe, "--log", "json")
    lines = [json.loads(text) for text in done.stderr.splitlines()]
    often = ("progress", "steps")
    known = [{k: v for k, v in e.items() if k != "time"} for e in lines if e["event"] not in often]
    events = [{k: v for k, v in e.items() if k != "time"} for e in told(here.store)]
    assert known == [event for event in events if event["event"] not in often]
    assert not [event for event in lines if event["event"] == "steps"]


def test_a_person_ends_training_and_keeps_the_best(tmp_path: Path, tiny_recipe: Path) -> None:
    """The rest of the run goes on, and everybody is told."""
    here = InProcess(tmp_path)

    def end() -> None:
        runs = here.store / "runs"
        while not any('"epoch"' in path.read_text() for path in runs.glob(f"*/{EVENTS}")):
            time.sleep(0.01)
        (folder,) = runs.glob("*/")
        end_file(folder, "train_head").touch()

    thread = threading.Thread(target=end)
    thread.start()
    result = here.result(tiny_recipe, "--head.epochs", 10_000, "--head.patience", 10_000)
    thread.join()
    (ended,) = (
        e for e in told(here.store) if e["event"] == "phase ended" and e["stage"] == "train_head"
    )
    assert ended["by_hand"]
    (stage,) = (s for s in result["stages"] if s["name"] == "train_head")
    history = json.loads((Path(stage["artifact"]) / "history.json").read_text())
    assert len(history["epochs"]) < 10_000
    losses = [epoch["val_loss"] for epoch in history["epochs"]]
    assert history["best_epoch"] == losses.index(min(losses))
    assert "ended by hand" in Path(result["report"]).read_text()
    assert result["pushed"]


@pytest.mark.slow
def test_telling_costs_nothing(tmp_path: Path) -> None:
    """At most 0.5 % of a step that takes 5 ms: what a thread writes is not waited for."""
    with EventFile(tmp_path / EVENTS) as file:
        started = time.monotonic()
        for number in range(1000):
            file.write(line("info", "epoch", {"epoch": number, "figures": {"loss": 0.5}}))
        each = (time.monotonic() - started) / 1000
    assert each < 0.005 * 0.05, each  # An epoch of ten steps is told of by one line.
