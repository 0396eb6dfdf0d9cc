"""Large stores, and long runs: how soon a page is there, and what it takes of memory.

By hand, on a machine that does nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.examples.placing import INDEX
from components.files import read_json, read_jsonl, sha256, write_json, write_jsonl
from pipeline.events import EventFile, line
from pipeline.records import past_runs
from pipeline.store import Store
from tests.conftest import ROOT
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import Stream, beginning, epoch, record, tell
from tests.pipeline.studio.test_data import examples_of

pytestmark = [
    pytest.mark.exhaustive,
    # Of the browser's event loop, when it ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.timeout(1200),
]


def test_a_store_of_a_thousand_runs_and_ten_thousand_epochs(look: Any, tmp_path: Path) -> None:
    for number in range(1000):
        folder = record(tmp_path, f"RUN{number:04}", started=f"2026-11-28T10:00:{number % 60:02}Z")
    tell(folder, [*beginning(epochs=10_000, patience=0), *(epoch(n, 1.0) for n in range(10_000))])
    page = look()
    page.wait_for_selector(".runs .name")
    times: dict[str, float] = {}
    for _ in range(3):
        started = time.monotonic()
        page.reload()
        page.wait_for_selector(".runs .name")
        times["list"] = min(times.get("list", 9.0), time.monotonic() - started)
        page.fill("input[type=search]", "RUN0999")
        started = time.monotonic()
        page.locator(".runs .name a").first.click()
        page.wait_for_selector(".charts canvas")
        times["run"] = min(times.get("run", 9.0), time.monotonic() - started)
        page.go_back()
        page.wait_for_selector(".runs .name")
    print(times)
    assert times["list"] < 0.3, times
    assert times["run"] < 0.5, times


def multiply(store: Path, count: int) -> str:
    """Give the only run of a store so many examples, all alike; its id."""
    import tensorflow as tf

    (run,) = past_runs(Store(store).runs)
    examples = examples_of(store, run.model_dump())
    rows = list(read_jsonl(examples.directory / INDEX))
    files = sorted(examples.dataset.glob("*.tfrecord*"))
    one = tf.train.Example()
    one.ParseFromString(next(iter(tf.data.TFRecordDataset(str(files[0])))).numpy())
    made = []
    with tf.io.TFRecordWriter(str(files[0])) as writer:
        for number in range(count):
            row = rows[number % len(rows)]
            identity = f"{number:032x}"
            made.append(row | {"id": identity, "name": f"{row['answers'][0]}/{number}.png"})
            one.features.feature["id"].bytes_list.value[0] = identity.encode()
            writer.write(one.SerializeToString())
    write_jsonl(examples.directory / INDEX, made)
    manifest = examples.directory / "artifact.json"
    known = read_json(manifest)
    for path in (files[0], examples.directory / INDEX):
        name = path.relative_to(examples.directory).as_posix()
        known["files"][name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    write_json(manifest, known)
    return run.run_id


def test_a_hundred_thousand_examples(look: Any, tmp_path: Path, pushed: Path) -> None:
    """By virtual scrolling: what is not seen is not there, wherever one is."""
    stores.copied(pushed, tmp_path)
    run_id = multiply(tmp_path, 100_000)
    page = look()
    page.wait_for_selector(".runs .name")
    times: dict[str, float] = {}
    started = time.monotonic()
    page.goto(page.url.rstrip("/") + f"/runs/{run_id}/data")
    page.get_by_text("100,000 examples").wait_for()
    times["said"] = time.monotonic() - started
    seen = "[...document.querySelectorAll('.cell img')].filter(each => each.naturalWidth).length"

    def wait_for_pictures() -> None:
        until = time.monotonic() + 60
        while page.evaluate(seen) < 10 and time.monotonic() < until:
            time.sleep(0.01)

    wait_for_pictures()
    times["first pictures"] = time.monotonic() - started
    for part in (0.5, 1.0, 0.25):
        started = time.monotonic()
        page.locator(".grid").evaluate(f"grid => grid.scrollTo(0, {part} * grid.scrollHeight)")
        page.locator(f".cell[data-at='{int(part * 99_999)}']").wait_for()
        wait_for_pictures()
        times[f"scrolled to {part}"] = time.monotonic() - started
        assert page.locator(".cell").count() < 200
    started = time.monotonic()
    page.get_by_label("Search names").fill("99999")
    page.get_by_text("1 example", exact=True).wait_for()
    times["searched"] = time.monotonic() - started
    print(times)
    # Once a studio: the examples are read and counted, and found in their files.
    assert times["first pictures"] < 6, times
    assert max(seconds for name, seconds in times.items() if name.startswith("scrolled")) < 1, times
    assert times["searched"] < 1, times


def test_an_hour_of_a_run(tmp_path: Path) -> None:
    """What a studio takes of memory: three epochs a second, and pages that are opened meanwhile."""
    folder = stores.running(tmp_path)
    tell(folder, beginning(epochs=20_000, patience=0))
    stage = {"stage": "train_head", "phase": "train_head"}
    progress = {"stage": "train_head", "work": "training", "total": 0, "note": ""}
    command = [sys.executable, "-m", "tests.pipeline.studio.stores", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        at = stores.At(int(server.stdout.readline()))
        browsers = [Stream(at) for _ in range(5)]
        threads = [threading.Thread(target=each.read, args=(1 << 30, 60.0)) for each in browsers]
        for thread in threads:
            thread.start()
        taken = []
        with EventFile(folder / "events.jsonl") as file:
            for minute in range(60):
                for second in range(minute * 60, minute * 60 + 60):
                    for number in range(3 * second, 3 * second + 3):
                        file.write(epoch(number, 1.0))
                        steps = {"done": 40 * number, "of": 40, "loss": 0.5}
                        file.write(line("info", "steps", stage | steps))
                    file.write(line("info", "progress", progress | {"done": second}))
                    time.sleep(0.01)
                for _ in range(10):
                    at.get("/api/runs/RUN")
                    at.get("/api/runs")
                taken.append(psutil.Process(server.pid).memory_info().rss / 2**20)
        tell(folder, [line("info", "run ended", {"outcome": "pushed", "reasons": []})])
        record(tmp_path, "RUN")
        for thread in threads:
            thread.join()
        server.kill()
    print([round(each) for each in taken])
    assert [len(each.events) for each in browsers] == [3600 * 7 + 4] * 5
    assert taken[-1] < 1.1 * taken[14], taken
