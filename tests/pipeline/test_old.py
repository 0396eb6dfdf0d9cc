"""A store that is trained every night: what of it may go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import InProcess


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_kept_is_whole(here: InProcess, tiny_recipe: Path) -> None:
    """The last runs are reused to the last stage; what is served can still be compared with."""

    def run(epochs: int) -> dict[str, object]:
        told: dict[str, object] = here.result(
            tiny_recipe, "--head.epochs", epochs, "--bless.max-drop", 1
        )
        return told

    for epochs in (10, 11, 12, 13):
        run(epochs)
    listed = json.loads(here("prune", "--store", here.store, "--keep-runs", 2, "--json").stdout)
    stages = {row["artifact"].partition("/")[0] for row in listed["artifacts"]}
    assert "train_head" in stages
    assert "ingest" not in stages
    assert not listed["removed"]
    before = sum(1 for _ in here.store.rglob("*"))
    done = here("prune", "--store", here.store, "--keep-runs", 2, "--remove")
    assert done.returncode == 0
    assert f"{len(listed['artifacts'])} artifacts" in done.stdout
    assert sum(1 for _ in here.store.rglob("*")) < before
    again = run(13)
    statuses = {stage["name"]: stage["status"] for stage in again["stages"]}  # type: ignore[attr-defined]
    assert {*statuses.values()} <= {"reused", "skipped"}
    assert statuses["export"] == "reused"
    assert run(10)["version"] == 5
    nothing = here("prune", "--store", here.store, "--keep-runs", 0)
    assert nothing.returncode == 2
    assert "--keep-runs must be at least 1, got 0" in nothing.stderr
