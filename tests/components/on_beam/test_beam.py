"""The data stages and bulk inference by Beam: the same as in this process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet

from components.artifacts import Features
from components.examples import counting
from components.examples.sources import find_source
from components.extract import ExtractConfig, extract
from components.files import read_jsonl
from components.frozen.activations import Activations
from components.ingest import DataConfig, ingest
from components.modalities.statistics import spread
from components.on_beam import count as on_beam_count
from components.section import BeamConfig
from tests.conftest import ROOT, picture, write_classes
from tests.helpers import assembled, ingested, job, views

HERE = BeamConfig()
IN_PROCESS = BeamConfig(runner="FnApiRunner")


def test_what_is_counted(tmp_path: Path) -> None:
    facts = [{"width": 8}, {"width": 9}]
    rows = [
        {
            "id": i,
            "same": s,
            "name": n,
            "answers": [a],
            "split": split,
            "facts": facts[n == "a"],
        }
        for i, s, n, a, split in (
            *(("1", "x", "a", "ant", "train"), ("1", "x", "b", "bee", "train")),
            *(("2", "x", "c", "bee", "train"), ("3", "y", "d", "bee", "train")),
            ("3", "y", "e", "bee", "test"),
        )
    ]
    index = tmp_path / "index.jsonl"
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    here = counting.count(index, ("one_label",))
    there = on_beam_count.count(
        replace(job(tmp_path / "b"), beam=IN_PROCESS), index, ("one_label",)
    )
    assert here == there
    assert here[("answer", "train", 0, "bee")] == 3
    assert (here[("ids",)], here[("kinds",)], here[("conflicts",)]) == (3, 2, 1)
    assert here[("clash", "d", "train", "e", "test")] == 1
    assert spread(Counter({8: 4, 9: 1})) == [8, 8, 9]


def extracted(directory: Path, photos: Path, beam: BeamConfig) -> Features:
    """The photographs, ingested and their features extracted by `beam`."""
    source = find_source(str(photos), modality="image")
    examples = ingest(
        replace(job(directory / "examples"), beam=beam), source, DataConfig(path="photos")
    )
    model = assembled(directory, examples, backbone="ConvNet", input_size=16)
    config = ExtractConfig(batch_size=8, dtype="float32")
    wanted = views(views=3)
    to = replace(job(directory / "features"), beam=beam)
    return extract(to, model, examples, 1, wanted, config, vectors="last", seed=0)


def assert_same(one: Features, other: Features) -> None:
    """Ids, splits and activations."""
    rows = [(features.directory / "rows.jsonl").read_text() for features in (one, other)]
    assert rows[0] == rows[1]
    assert [*read_jsonl(one.examples.directory / "index.jsonl")] == [
        *read_jsonl(other.examples.directory / "index.jsonl")
    ]
    assert one.keys == other.keys
    for key in one.keys.values():
        stores = [Activations.existing(features.store, key) for features in (one, other)]
        names = sorted(stores[0].index())
        assert names == sorted(stores[1].index())
        tensors = [store.reader(names).gather(np.arange(len(names))) for store in stores]
        for mine, theirs in zip(*tensors, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def cluster() -> Iterator[tuple[BeamConfig, str]]:
    """Beam's job service, and a pool that starts a process for each of two workers.

    Yields:
        What uses them, and the process group of the pool.
    """
    jobs, pool = free_port(), free_port()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    commands = (
        ["tests.beam_service", str(jobs), "2"],
        ["apache_beam.runners.worker.worker_pool_main", "--service_port", str(pool)],
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        for port in (jobs, pool):
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                    break
                time.sleep(0.2)
        options = (f"--job_endpoint=localhost:{jobs}", "--environment_type=EXTERNAL")
        where = f"--environment_config=localhost:{pool}"
        yield BeamConfig(runner="PortableRunner", options=(*options, where)), str(processes[1].pid)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill_a_worker(activations: Path, pool: str, killed: list[int]) -> None:
    """The first one that there is, as soon as something is being extracted."""
    while not list(activations.glob("*/*.bin*")):
        time.sleep(0.05)
    workers = subprocess.run(
        ["pgrep", "-g", pool, "-f", "import SdkHarness"], capture_output=True, text=True, check=True
    )
    killed.append(int(workers.stdout.split()[0]))
    os.kill(killed[0], signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_workers_of_a_cluster_one_of_which_is_killed(tmp_path: Path) -> None:
    """Beam's own job service, two worker processes: ids, splits and activations are the same."""
    photos = write_classes(tmp_path / "photos", 150)
    here = extracted(tmp_path / "here", photos, HERE)
    there = tmp_path / "there"
    killed: list[int] = []
    with cluster() as (beam, pool):
        given = (there / "activations", pool, killed)
        killer = threading.Thread(target=kill_a_worker, args=given)
        killer.start()
        features = extracted(there, photos, beam)
        killer.join()
    assert killed
    assert_same(here, features)


def test_the_feature_pass_by_a_runner(tmp_path: Path) -> None:
    """In parts of the activation store that are named after what is in them."""
    photos = write_classes(tmp_path / "photos", 20)
    examples = ingested(tmp_path / "examples", photos)
    model = assembled(tmp_path, examples, backbone="ConvNet", input_size=16)
    config = ExtractConfig(batch_size=8, dtype="float32")
    wanted = views(views=2)

    def by(beam: BeamConfig, name: str, seed: int = 0) -> Features:
        to = replace(job(tmp_path / name / "features"), beam=beam)
        return extract(to, model, examples, 1, wanted, config, vectors="last", seed=seed)

    here, there = by(HERE, "here"), by(IN_PROCESS, "there")
    assert here.stats["computed"] == there.stats["computed"] > 40
    assert_same(here, there)
    shards = {p.name: p.stat().st_mtime_ns for p in there.store.glob("*/*.bin")}
    assert by(IN_PROCESS, "there").stats["computed"] == 0
    assert shards == {p.name: p.stat().st_mtime_ns for p in there.store.glob("*/*.bin")}
    # The views of another seed have the same numbers, and other names.
    assert_same(by(HERE, "here", seed=1), by(IN_PROCESS, "there", seed=1))


def as_read(path: Path) -> dict[str, tuple[str, list[float]]]:
    """What bulk inference wrote, whatever its form."""
    if path.suffix == ".jsonl":
        rows = list(read_jsonl(path))
    elif path.suffix == ".parquet":
        rows = parquet.read_table(path).to_pylist()
    else:
        rows = []
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            rows.append(
                {
                    "input": feature["input"].bytes_list.value[0].decode(),
                    "label": feature["label"].bytes_list.value[0].decode(),
                    "probabilities": list(feature["probabilities"].float_list.value),
                }
            )
    return {row["input"]: (row["label"], row["probabilities"]) for row in rows}


def test_bulk_inference(
    pushed: Path, tmp_path: Path, in_process: Callable[..., tuple[int, str, str]]
) -> None:
    """A folder and a table, in three forms, here and by Beam: every input is accounted for."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.png").write_bytes(picture(number % 3, number))
    (folder / "bad.png").write_bytes(b"no picture")
    table = tmp_path / "table.csv"
    table.write_text("n,path\n1,folder/1.png\n2,folder/gone.png\n3\n")
    beam = ("--beam.runner", "FnApiRunner")
    expected = None
    for form, options in ((".jsonl", ()), (".parquet", ()), (".tfrecord", ()), (".jsonl", beam)):
        output = tmp_path / f"{'beam' if options else 'here'}{form}"
        asked = ("predict", pushed, folder, table, "-o", output, "--batch-size", "8", *options)
        status, out, err = in_process(*asked, "--json")
        assert status == 0, err
        done = json.loads(out)
        assert (done["predicted"], done["quarantined"]) == (31, 3)
        (written,) = map(Path, done["outputs"])
        rows = as_read(written)
        assert len(rows) == 31
        expected = expected or rows
        assert rows.keys() == expected.keys()
        for name, (label, probabilities) in rows.items():
            assert label == expected[name][0]
            np.testing.assert_allclose(probabilities, expected[name][1], atol=1e-5)
        aside = {row["input"]: row["reason"] for row in read_jsonl(Path(done["quarantine"]))}
        assert aside == {
            str(folder / "bad.png"): "the model cannot read it",
            "folder/gone.png": "cannot be read: No such file or directory",
            "table.csv:3": "there is no path",
        }
    for wrong, said in (
        (("nowhere", "-o", "x.jsonl"), "INPUT must be a folder, a file or tfds:NAME"),
        ((folder, "-o", "x.txt"), "--output must end in one of .jsonl, .parquet, .tfrecord"),
        ((folder, "-o", "no/x.jsonl"), "--output must be in a folder that exists"),
    ):
        status, _, err = in_process("predict", pushed, *wrong)
        assert status == 2
        assert said in err
