"""`serve` beside the model called directly: requests a second, and how long one waits.

Eight clients, each of which asks about one picture at a time; of the direct calls, eight threads.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from components.examples import digits
from components.served import opening
from models.quiet import import_tensorflow
from pipeline import api
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import ROOT

_REQUESTS, _CLIENTS, _PICTURES = 4000, 8, 64


def measure(work: Path, tell: Tell) -> None:
    """A row for each way."""
    result = api.run("digits", {"control.enabled": False}, store=work, log=Nobody())
    assert result.pushed
    anything: Any = None
    some = itertools.islice(digits.iterate(anything), _PICTURES)
    pictures = [record.raw or b"" for record in some]
    import_tensorflow()
    import tensorflow as tf

    model, _ = opening.load(result.pushed, "image")
    signature = model.signatures["serving_default"]

    def directly(number: int) -> None:
        answer = signature(raw=tf.constant([pictures[number % _PICTURES]]))
        answer["probabilities"].numpy()

    tell({"way": "directly", **_timed(lambda: directly)})
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "serve", str(result.pushed.parent)]
    with subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        url = next(text for text in process.stderr if "POST " in text).split()[-1]
        host, path = url.removeprefix("http://").split("/", 1)
        bodies = [
            json.dumps({"instances": [{"b64": base64.b64encode(raw).decode()}]}) for raw in pictures
        ]

        def client() -> Callable[[int], None]:
            connection = http.client.HTTPConnection(host)

            def ask(number: int) -> None:
                connection.request("POST", f"/{path}", bodies[number % _PICTURES])
                answer = connection.getresponse()
                assert answer.status == 200
                json.loads(answer.read())

            return ask

        tell({"way": "by REST", **_timed(client)})
        process.terminate()


def _timed(client: Callable[[], Callable[[int], None]]) -> dict[str, float]:
    """By as many clients, after some requests that do not count."""

    def work(_: int) -> list[float]:
        ask = client()
        for number in range(20):
            ask(number)
        times = []
        for number in range(_REQUESTS // _CLIENTS):
            began = time.perf_counter()
            ask(number)
            times.append(time.perf_counter() - began)
        return times

    with ThreadPoolExecutor(_CLIENTS) as pool:
        began = time.perf_counter()
        times = np.concatenate(list(pool.map(work, range(_CLIENTS))))
        seconds = time.perf_counter() - began
    median, late = np.percentile(times, [50, 99])
    return {
        "requests a second": (_REQUESTS + 20 * _CLIENTS) / seconds,
        "median, ms": float(median) * 1000,
        "p99, ms": float(late) * 1000,
    }
