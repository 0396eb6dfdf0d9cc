"""What modules of the pages compute, run in a browser: of events, and of a microphone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import soundfile

from pipeline.events import EVENTS, line
from pipeline.studio.following import Followed
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import beginning, epoch, tell

# Of the browser's event loop, when it ends.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def events() -> list[str]:
    """One of each kind at least."""
    stage = {"stage": "train_head", "phase": "train_head"}
    progress = {"stage": "extract", "work": "reading", "done": 1, "total": 9, "note": "slow"}
    done = {"status": "ran", "seconds": 1.5, "stats": {"a": 1}, "remarks": ["so"]}
    return [
        *beginning(),
        line("info", "stage began", {"stage": "extract", "expected": None}),
        line("info", "progress", progress),
        line("info", "stage ended", {"stage": "extract", "artifact": "extract/x", **done}),
        line("info", "progress", progress | {"stage": "train_head"}),
        epoch(0, 0.9),
        line("info", "steps", stage | {"done": 4, "of": 4, "loss": 0.5}),
        epoch(1, 0.8),
        epoch(1, 0.7),  # Told again after a stop.
        line("info", "steps", stage | {"done": 8, "of": 4, "loss": None}),
        line("warning", "alert", {**stage, "kind": "flat", "message": "it stands still"}),
        line("info", "message", {"message": "a line"}),
        line("info", "phase ended", stage | {"best_epoch": 1, "by_hand": False}),
        line("info", "stage ended", {"stage": "unknown before", "artifact": None, **done}),
        line("info", "run ended", {"outcome": "pushed", "blessed": True, "reasons": []}),
    ]


def module(name: str) -> str:
    """The address of a module of the page, in JavaScript."""
    return f"document.querySelector(\"link[href$='/{name}']\").href"


FOLD = f"""async ([run, lines]) => {{
  const {{ count }} = await import({module("live.js")});
  for (const line of lines) count(run, JSON.parse(line));
  return run;
}}"""
RECORD = f"""async () => {{
  const {{ record }} = await import({module("sound.js")});
  const heard = await new Promise((resolve) => {{
    const button = record(resolve);
    button.click();
    setTimeout(() => button.click(), 2500);
  }});
  return [...new Uint8Array(await heard.arrayBuffer())];
}}"""


def test_a_browser_counts_as_the_server_does(look: Any, tmp_path: Path) -> None:
    """From wherever it begins."""
    told = events()
    folder = stores.running(tmp_path)
    tell(folder, told)
    whole = Followed()
    whole.read(folder / EVENTS)
    page = look()
    for known in range(len(told) + 1):
        begun, path = Followed(), tmp_path / f"{known}.jsonl"
        path.write_text("".join(told[:known]))
        begun.read(path)
        seen = page.evaluate(FOLD, [begun.as_json(), told[known:]])
        expected = whole.as_json() | {"offset": begun.offset}
        assert {name: seen[name] for name in expected} == expected, known


def test_what_a_microphone_hears_can_be_read(look: Any) -> None:
    """As what a model of sounds is asked about."""
    raw = bytes(look().evaluate(RECORD))
    samples, rate = soundfile.read(io.BytesIO(raw))
    assert 0.5 < len(samples) / rate < 4
    assert abs(samples).max() > 0.05
