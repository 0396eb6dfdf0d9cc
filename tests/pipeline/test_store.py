"""Fingerprints, commits and what becomes of a stage that dies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import Artifact, Blessing, Checks, Examples
from components.bless import BlessConfig, bless
from components.extract import extract
from components.frozen.activations import Activations
from components.ingest import DataConfig, ingest
from components.job import Job, stage
from components.modalities.giants import ModelConfig
from components.section import Digested
from components.tasks.figures import Comparison
from components.tasks.protocol import Target
from pipeline.config import Config
from pipeline.flow import Run
from pipeline.showing import to_toml
from pipeline.store import Call, Store, hashed


@stage(version=1)
def simple(job: Job, config: BlessConfig, *, seed: int) -> Blessing:
    """Writes one file."""
    (job.directory / "file").write_text(str(seed))
    return Blessing(directory=job.directory, blessed=True, reasons=())


def call(**config: float) -> Call:
    return Call.of(simple, (BlessConfig(**config),), {"seed": 0})


def test_fingerprints_follow_content_alone() -> None:
    assert call().fingerprint == call(max_drop=0.01).fingerprint
    assert call().fingerprint != call(max_drop=0.5).fingerprint
    assert call().fingerprint != Call.of(simple, (BlessConfig(),), {"seed": 1}).fingerprint
    newer = dataclasses.replace(call(), version=2)
    assert call().fingerprint != newer.fingerprint


def test_what_another_stage_reads_is_not_hashed() -> None:
    assert hashed(DataConfig(allow_new_labels=True)) == hashed(DataConfig())
    assert hashed(DataConfig(test_fraction=0.2)) != hashed(DataConfig())


def commit(store: Store, of: Call) -> Blessing:
    directory = store.begin(of)
    (directory / "file").write_text("hello")
    return store.commit(of, Blessing(directory=directory, blessed=True, reasons=("Yes.",)), 1.0)


def test_an_artifact_exists_only_once_it_is_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    directory = store.begin(call())
    (directory / "half").write_text("written")
    assert store.find(call()) is None
    committed = commit(store, call())
    assert store.find(call()) == committed
    assert not (directory / "half").exists()
    (directory / "file").write_text("shortened"[:2])
    assert store.find(call()) is None


def test_digests_say_what_is_in_it_and_not_how_it_was_made(tmp_path: Path) -> None:
    one = commit(Store(tmp_path / "a"), call())
    other = commit(Store(tmp_path / "b"), call(max_drop=0.5))
    assert one.digest == other.digest
    manifest = json.loads((one.directory / "artifact.json").read_text())
    assert manifest["files"]["file"]["size"] == 5
    assert manifest["inputs"]["config"]["max_drop"] == 0.01
    assert str(tmp_path) not in (one.directory / "artifact.json").read_text()


def test_artifacts_within_artifacts_are_followed(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def make(name: str, kind: type[Examples | Checks], **facts: object) -> Artifact:
        of = Call(name, 1, {"name": name}, kind)
        return store.commit(of, kind(directory=store.begin(of), **facts), 0.0)

    examples = make(
        "ingest", Examples, modality="image", targets=(Target(task="number"),), counts={"test": 3}
    )
    checks = make("validate", Checks, examples=examples, warnings=())
    call = Call("validate", 1, {"name": "validate"}, Checks)
    assert store.find(call) == checks
    (tmp_path / examples.ref / "artifact.json").unlink()
    assert store.find(call) is None


def test_show_can_be_read_back(tmp_path: Path) -> None:
    import tomllib

    config = Config(model=ModelConfig(backbone="VGG16", weights='a"b.h5'))
    assert Config.model_validate(tomllib.loads(to_toml(config))) == config


def test_wiring_a_stage_wrongly_is_a_type_error(tmp_path: Path) -> None:
    """mypy must refuse what a person could write in flow.py."""
    from mypy import api

    source = (
        "from components.ingest import DataConfig, ingest\n"
        "from components.artifacts import Rivals\n"
        "from components.bless import bless\n"
        "from pipeline.flow import Outside, Run\n"
        "def wrong(run: Run, outside: Outside, config: DataConfig) -> None:\n"
        "    examples = run(ingest, outside.source, config)\n"
        "    run(bless, examples, Rivals(), config)\n"
    )
    (tmp_path / "wrong.py").write_text(source)
    out, err, status = api.run([str(tmp_path / "wrong.py"), "--config-file", "pyproject.toml"])
    assert status == 1, out + err
    assert out.count("[arg-type]") == 2, out


@pytest.mark.parametrize("function", [ingest, bless])
def test_stages_say_their_version(function: object) -> None:
    assert isinstance(function.stage_version, int)  # type: ignore[attr-defined]
    assert Run is not None


def test_prune_removes_only_activations_that_no_artifact_refers_to(
    in_process: Callable[..., Any], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    shards = {}
    for key in ("used", "unused"):
        version = extract.stage_version  # type: ignore[attr-defined]
        meaning = {"backbone": "ConvNet", "output": "before block3", "version": version}
        kept = Activations.open(store.activations, key, [((2,), "float32")], meaning)
        for name in ("a", "b"):
            with kept.writer() as writer:
                writer.add([name], [np.zeros((1, 2), np.float32)])
        shards[key] = kept.shards()
    artifact = store.root / "extract" / "fingerprint"
    artifact.mkdir(parents=True)
    version = extract.stage_version  # type: ignore[attr-defined]
    (artifact / "artifact.json").write_text(json.dumps({"version": version}))
    (artifact / "shards.json").write_text(json.dumps({"used": shards["used"][:1]}))
    void = store.root / "extract" / "void"
    void.mkdir()
    (void / "artifact.json").write_text(json.dumps({"version": version - 1}))
    (void / "shards.json").write_text(json.dumps(shards))

    arguments = ("prune", "--store", store.root)
    killed = store.root / "scratch" / "extract-killed"
    killed.mkdir(parents=True)
    assert json.loads(in_process(*arguments, "--json")[1])["activations"] == []
    killed.rmdir()
    _, listed, _ = in_process(*arguments, "--json")
    rows = {row["key"]: row["rows"] for row in json.loads(listed)["activations"]}
    assert rows == {"used": 1, "unused": 2}
    status, said, _ = in_process(*arguments)
    assert status == 0
    assert "ConvNet, before block3" in said
    assert len(list(store.activations.glob("*/*.bin"))) == 4

    assert in_process(*arguments, "--remove")[0] == 0
    assert [path.name for path in store.activations.iterdir()] == ["used"]
    assert Activations.existing(store.activations, "used").shards() == shards["used"][:1]
    assert in_process(*arguments)[1].startswith("0.0 MB of activations that no artifact refers to")


def test_what_a_verdict_compared_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    of = Call("bless", 1, {}, Blessing)
    found = Comparison(name="accuracy", count=9, value=0.5, other=0.4, low=-0.1, high=0.3)
    made = Blessing(directory=store.begin(of), blessed=True, reasons=("x.",), comparisons=(found,))
    assert store.commit(of, made, 0.0) == store.find(of)


def test_what_has_a_digest_is_known_by_it_only_where_it_says_so() -> None:
    """A field that happens to be called so does not hide the others."""

    @dataclasses.dataclass(frozen=True)
    class Happens:
        digest: str
        size: int

    @dataclasses.dataclass(frozen=True)
    class Said(Digested):
        digest: str
        place: str

    assert hashed(Happens("a", 1)) != hashed(Happens("a", 2))
    assert hashed(Said("a", "here")) == hashed(Said("a", "there")) == {"digest": "a"}
