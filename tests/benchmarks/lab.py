"""The lab of a run on ants and bees: how long one waits for an answer, and whether it is a run's.

By the studio's server, in a process of its own, as a page asks it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from components.files import read_json
from pipeline import api
from pipeline.lab.lab import Lab
from pipeline.store import Store
from tests.benchmarks.setting import Nobody, Tell
from tests.conftest import ROOT

_ANSWERS = 20
# One after the other, ever new values of each.
_CHANGES: tuple[tuple[str, Any], ...] = (
    ("head.learning_rate", lambda n: round(1e-3 * 1.2**n, 6)),
    ("head.dropout", lambda n: round(0.02 * n, 2)),
    ("head.features", lambda n: "taps"),
    ("head.weight_decay", lambda n: round(0.01 * n, 2)),
)


def measure(work: Path, data: Path, tell: Tell) -> None:
    """The seconds of answers; then runs with a few of those settings."""
    plain = {"data.path": str(data), "control.enabled": False}
    for features in ("taps", "last"):  # Both are stored then.
        result = api.run("photos", plain | {"head.features": features}, store=work, log=Nobody())
    lab = f"/api/runs/{result.run_id}/lab"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "studio", "--store", str(work)]
    with subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        url = next(text for text in process.stderr if "http://" in text).split()[-1]
        host, token = url.removeprefix("http://").split("/?token=")
        headers = {"host": host, "authorization": f"Bearer {token}"}
        connection = http.client.HTTPConnection(host)

        def ask(settings: dict[str, Any]) -> dict[str, Any]:
            connection.request("POST", f"{lab}/answer", json.dumps({"settings": settings}), headers)
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found

        for warm in ({}, {"head.dropout": 0.9}, {"head.features": "taps"}):
            ask(warm)
        seconds, answers = [], []
        for number, (key, value) in zip(range(_ANSWERS), itertools.cycle(_CHANGES), strict=False):
            settings = {key: value(number + 1)}
            if key == "head.features":  # The same again would be known.
                settings["one_label.label_smoothing"] = round(0.005 * (number + 1), 4)
            began = time.monotonic()
            found = ask(settings)
            seconds.append(time.monotonic() - began)
            answers.append((settings, found))
        process.terminate()
    tell(
        {
            "answers": len(seconds),
            "p50": round(float(np.quantile(seconds, 0.5)), 3),
            "p95": round(float(np.quantile(seconds, 0.95)), 3),
            "most": round(max(seconds), 3),
        }
    )
    record = api.lab(result.run_id, store=work).record
    for settings, found in answers[-4:]:
        tell({"settings": settings, **_as_a_run(Lab(Store(work), record), settings, found)})


def _as_a_run(lab: Lab, settings: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What a run with these settings says of its head, beside what the lab has answered."""
    result = api.run("photos", lab.config_of(settings), store=lab.store.root, log=Nobody())
    (head,) = (step for step in result.steps if step.name == "train_head")
    path = Path(head.artifact) / "history.json"
    if not path.exists():  # Fitted exactly, to what it is validated with as well.
        same = head.stats["features"] in found["kept"]
        return {"run": head.stats["features"], "lab": found["kept"], "same": same}
    history = read_json(path)
    best, known = history["epochs"][history["best_epoch"]], found["phases"][0]["epochs"]
    return {"run": best["val_loss"], "same": known == history["epochs"]}
