"""Several devices, and several hosts: one curve, in processes that have virtual devices."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.mistakes import Mistake
from pipeline.hosts import Hosts, hosts_of
from pipeline.interpreters.help import FirstEnded, FirstHost
from pipeline.records import RunRecord, past_runs
from pipeline.stopping import Stopped
from pipeline.store import Store
from tests.conftest import ROOT, CommandLine


def curve(devices: int, *, several_hosts: bool) -> list[dict[str, float]]:
    """Fine-tuning of a whole small network, with everything that a step can have."""
    import keras

    from models import backbones, freezing, heads, minibatches, objectives, optimization, training
    from models.distribution import replicas, scope

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 87)
    pictures = rng.normal(100, 20, (87, 16, 16, 3)) + 40 * labels[:, None, None, None]

    def data(part: slice) -> minibatches.Data:
        mine = pictures[part].astype("float32")
        targets = minibatches.one_hot(labels[part], 2)
        weights = targets @ np.array([[1.0], [2.0]], "float32") if part.start == 0 else None
        return minibatches.labelled(targets, lambda rows, _: mine[rows], weights=weights)

    distribution = "data_parallel" if devices > 1 else "none"
    with scope(distribution, several_hosts=several_hosts):
        assert replicas() == devices
        keras.utils.set_random_seed(0)
        network = backbones.build_backbone("ConvNet", input_size=16)
        values = [
            np.random.default_rng(number).normal(0, 0.1, weight.shape)
            + weight.path.endswith(("gamma", "variance"))
            for number, weight in enumerate(network.weights)
        ]
        network.set_weights(values)
        freezing.unfreeze(network.layers)
        head = heads.build_head(
            features=network.output_shape[-1],
            outputs=[("probabilities", 2, "softmax")],
            normalize=False,
        )
        optimizer = optimization.build_optimizer(
            learning_rate=1e-3, steps=40, weight_decay=0.01, clip_norm=0.5, ema=0.5
        )
        history = training.train(
            heads.join(network, head),
            data(slice(0, 70)),  # Four steps, none of which four devices can share evenly.
            data(slice(70, 87)),
            optimizer=optimizer,
            objective=objectives.single(2, label_smoothing=0.1),
            length=training.Length(4, 20),
            seed=1,
        )
    return [history.before, *history.epochs]


def run_on(backend: str, *, devices: int, hosts: int = 1) -> list[list[dict[str, float]]]:
    """`curve` of each host, in processes of their own with virtual devices."""
    code = (
        "import json, sys; from models.quiet import import_tensorflow; import_tensorflow();"
        "import tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0];"
        "devices, hosts = map(int, sys.argv[1:]);"
        "one = [tf.config.LogicalDeviceConfiguration()] * devices;"
        "tf.config.set_logical_device_configuration(cpu, one) if devices > 1 else None;"
        "from tests.models.test_distribution import curve;"
        "found = curve(devices * hosts, several_hosts=hosts > 1);"
        "sys.stdout.write('RESULT' + json.dumps(found))"
    )
    flags = f"--xla_force_host_platform_device_count={devices}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(devices), str(hosts)],
            env=os.environ | where | {"KERAS_BACKEND": backend, "XLA_FLAGS": flags},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for where in environments(backend, hosts)
    ]
    said = [process.communicate() for process in processes]
    for process, (_, err) in zip(processes, said, strict=True):
        assert process.returncode == 0, err
    return [json.loads(out.rpartition("RESULT")[2]) for out, _ in said]


def environments(backend: str, hosts: int) -> list[dict[str, str]]:
    """What tells each of several hosts, all of them here, which it is."""
    if hosts == 1:
        return [{}]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(hosts)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    if backend == "jax":
        prefix = "KERAS_DISTRIBUTION_"
        common = {
            f"{prefix}JOB_ADDRESSES": ",".join(addresses),
            f"{prefix}NUM_PROCESSES": str(hosts),
        }
        return [common | {f"{prefix}PROCESS_ID": str(rank)} for rank in range(hosts)]
    tasks = [{"type": "worker", "index": rank} for rank in range(hosts)]
    return [
        {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
        for task in tasks
    ]


@pytest.mark.parametrize(
    ("backend", "devices", "hosts"),
    # TensorFlow takes one CPU of each of several hosts, however many are asked for.
    [
        pytest.param("tensorflow", 4, 1, marks=pytest.mark.slow),
        pytest.param("tensorflow", 1, 2, marks=pytest.mark.exhaustive),
        pytest.param("jax", 4, 1, marks=pytest.mark.exhaustive),
        pytest.param("jax", 2, 2, marks=pytest.mark.slow),
    ],
)
def test_several_devices_have_the_curve_of_one(backend: str, devices: int, hosts: int) -> None:
    one = alone(backend)
    assert one[-1]["loss"] < 0.8 * one[1]["loss"]
    for several in run_on(backend, devices=devices, hosts=hosts):
        for mine, theirs in zip(one, several, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-4)


@functools.cache
def alone(backend: str) -> list[dict[str, float]]:
    (curve,) = run_on(backend, devices=1)
    return curve


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("tensorflow", marks=pytest.mark.slow),
        pytest.param("jax", marks=pytest.mark.exhaustive),
    ],
)
def test_two_hosts_run_the_same_command(
    backend: str, command_line: CommandLine, tiny_recipe: Path
) -> None:
    """The first one pushes; what the other one has in the store at the end is what it saw there."""
    flags = ("--runtime.backend", backend, "--runtime.distribution", "data_parallel")

    def run(where: dict[str, str]) -> Any:
        return command_line.run(tiny_recipe, *flags, **where)

    where = environments(backend, 2)
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(run, where)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert json.loads(second.stdout) == {
        "host": 1,
        "hosts": 2,
        "helped": ["train_head", "fine_tune"],
    }
    result = json.loads(first.stdout)
    assert result["metrics"]["test"]["accuracy"] == 1.0
    assert [stage["status"] for stage in result["stages"]] == ["ran"] * len(result["stages"])
    (record,) = past_runs(command_line.store / "runs")
    assert record.run_id == result["run_id"]


@pytest.mark.parametrize(
    ("backend", "variables", "hosts"),
    [
        ("jax", {}, Hosts()),
        ("jax", environments("jax", 3)[2], Hosts(3, 2)),
        ("jax", {**environments("jax", 1)[0], "TF_CONFIG": "{}"}, Hosts()),
        ("tensorflow", {}, Hosts()),
        ("tensorflow", environments("tensorflow", 2)[1], Hosts(2, 1)),
        (
            "tensorflow",
            {
                "TF_CONFIG": '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, '
                '"task": {"type": "worker", "index": 0}}'
            },
            Hosts(2, 1),
        ),
    ],
)
def test_which_host_this_is(
    backend: str, variables: dict[str, str], hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hosts_of(backend) == hosts


@pytest.mark.parametrize(
    ("backend", "variables", "said"),
    [
        ("tensorflow", {"TF_CONFIG": "worker"}, "TF_CONFIG must be JSON with a cluster"),
        (
            "jax",
            {"KERAS_DISTRIBUTION_JOB_ADDRESSES": "a:1,b:1"},
            "KERAS_DISTRIBUTION_NUM_PROCESSES must be a number where",
        ),
        (
            "jax",
            environments("jax", 2)[0] | {"KERAS_DISTRIBUTION_PROCESS_ID": "2"},
            "KERAS_DISTRIBUTION_PROCESS_ID must be one of 2 hosts, from 0, got 2",
        ),
    ],
)
def test_hosts_that_cannot_be(
    backend: str, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Mistake, match=said):
        hosts_of(backend)


def test_a_host_does_not_wait_for_a_run_that_has_ended(tmp_path: Path) -> None:
    """But for one that is still to begin, whatever has ended before."""
    store = Store(tmp_path)

    def record(run_id: str, outcome: str) -> RunRecord:
        return RunRecord(
            run_id=run_id,
            recipe="tiny",
            request="",
            serving="",
            baseline=None,
            started=run_id,
            outcome=outcome,
        )

    record("1", "failed: a mistake").save(store.runs)
    first = FirstHost(store, "tiny")
    assert first.look() is None
    record("2", "running").save(store.runs)
    assert first.look() is None  # It may be of a process that was killed long ago.
    os.utime(store.runs / "2.json", (1, 1))
    assert first.look() == record("2", "running")
    record("2", "failed: no room").save(store.runs)
    with pytest.raises(FirstEnded, match="the run of the first host has ended: failed: no room"):
        first.look()


def test_a_host_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FirstHost(Store(tmp_path), "tiny")
    monkeypatch.setattr("pipeline.interpreters.help._PATIENCE", 0.0)
    with pytest.raises(Stopped, match="must give signs of a run of tiny"):
        first.wait()
