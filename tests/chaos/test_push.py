"""The serving directory: killed pushes, clocks set back, going back, and who is at work there."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.artifacts import Blessing, ExportedModel
from components.files import read_json
from components.push import PushConfig, push
from components.served import fresh, signing
from components.served.manifest import MANIFEST, verify_manifest
from components.served.versions import JOURNAL, LOCK, ServingDirectory
from models.mistakes import Mistake
from pipeline import api
from pipeline.store import StoreIsHeld, held
from tests.chaos import programs
from tests.conftest import ROOT, CommandLine, InProcess
from tests.helpers import job


@pytest.fixture
def serving(tmp_path: Path) -> ServingDirectory:
    return ServingDirectory(tmp_path / "serving")


def model(directory: Path, number: int, size: int = 0) -> ExportedModel:
    """One that only computes, and that is another one by its number."""
    programs.model(directory / "model")
    (directory / "model" / "padding").write_bytes(bytes(size))
    programs.signed_off(directory / "model", number=number)
    return ExportedModel(directory=directory, modality="image", targets=(), version=1)


def pushed(tmp_path: Path, serving: ServingDirectory, number: int, **config: Any) -> Any:
    made = tmp_path / f"made {number}"
    exported = (
        ExportedModel(directory=made, modality="image", targets=(), version=1)
        if made.exists()
        else model(made, number)
    )
    blessing = Blessing(directory=tmp_path, blessed=True, reasons=())
    settings = PushConfig(check=False, **config)
    return push(job(tmp_path / f"push {time.time_ns()}"), exported, blessing, serving, settings)


def numbered(serving: ServingDirectory) -> dict[int, int]:
    """Each version → the number of the model that it is."""
    return {v: read_json(serving.version(v) / MANIFEST)["number"] for v in serving.versions()}


_PUSH = """
import os, sys
from pathlib import Path
from components.served.versions import ServingDirectory
print("here", flush=True)
sys.stdin.readline()
ServingDirectory(Path(sys.argv[2])).put(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_pushes(tmp_path: Path, serving: ServingDirectory) -> None:
    """At moments all over a push: a version is whole or absent, and nothing is left for long.

    SHOULDERS_KILLS=200 for more.
    """
    exported = model(tmp_path / "m", 1, size=8 << 20)
    kills = int(os.environ.get("SHOULDERS_KILLS", "12"))
    whole = 0
    for number in range(kills):
        command = [sys.executable, "-c", _PUSH, str(exported.path), str(serving.path)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        assert process.stdin
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(0.04 * number / kills)
        process.kill()
        process.communicate()
        for version in serving.versions():
            verify_manifest(serving.version(version))
        whole = len(serving.versions())
    last = serving.put(exported.path)
    assert int(last.name) == max(serving.versions())
    there = {path.name for path in serving.path.iterdir()}
    assert {name for name in there if name.startswith(".")} == {JOURNAL}
    print(f"{kills} killed, {whole} of them after the rename, 0 versions incomplete")


def test_a_clock_that_is_set_back(tmp_path: Path, serving: ServingDirectory) -> None:
    pushed(tmp_path, serving, 1)
    future = time.time() + 1e6
    os.utime(serving.version(1), (future, future))
    assert pushed(tmp_path, serving, 2, keep=1, grace="1s").path == serving.version(2)
    assert serving.versions() == [1, 2], "what seems to be younger than it is stays"


def test_keep(tmp_path: Path, serving: ServingDirectory) -> None:
    """The highest ones, and what is younger than the grace period; numbers never come back."""
    (serving.path / "notes").mkdir(parents=True)
    for number in range(1, 5):
        pushed(tmp_path, serving, number, keep=2)
    assert serving.versions() == [1, 2, 3, 4]
    for number in serving.versions():
        os.utime(serving.version(number), (0, 0))
    result = pushed(tmp_path, serving, 5, keep=2)
    assert serving.versions() == [4, 5]
    assert result.stats["removed"] == [1, 2, 3]
    for number in (4, 5):
        serving.version(number).rename(tmp_path / str(number))
    assert pushed(tmp_path, serving, 6).path == serving.version(6)
    assert (serving.path / "notes").is_dir()


def test_what_was_removed_by_hand_is_said(tmp_path: Path, serving: ServingDirectory) -> None:
    pushed(tmp_path, serving, 1)
    pushed(tmp_path, serving, 2)
    serving.version(2).rename(tmp_path / "away")
    said: list[str] = []
    exported = ExportedModel(directory=tmp_path / "made 2", modality="image", targets=(), version=1)
    blessing = Blessing(directory=tmp_path, blessed=True, reasons=())
    again = replace(job(tmp_path / "p"), say=said.append)
    result = push(again, exported, blessing, serving, PushConfig(check=False))
    assert result.path == serving.version(3)
    assert "version 2 was this model, and was removed by hand; it is version 3 now" in said[0]


def test_going_back(tmp_path: Path, serving: ServingDirectory) -> None:
    for number in (1, 2, 3):
        pushed(tmp_path, serving, number)
    back = api.rollback(serving.path, 1, "it took bees for ants", check=False)
    assert back == serving.version(4)
    assert numbered(serving) == {1: 1, 2: 2, 3: 3, 4: 1}
    entry = serving.journal()[-1]
    assert (entry.what, entry.to, entry.reason) == ("rolled back", 1, "it took bees for ants")
    # Neither comes back by itself; a new one is pushed, and who is gone back to, too.
    for number in (2, 3):
        withdrawn = pushed(tmp_path, serving, number)
        assert withdrawn.path is None
        assert "it took bees for ants" in withdrawn.reason
    assert pushed(tmp_path, serving, 4).path == serving.version(5)
    assert api.rollback(serving.path, 3, "it was right", check=False) == serving.version(6)
    assert pushed(tmp_path, serving, 3).reason == "It is served as version 6."
    with (serving.path / JOURNAL).open("a") as file:
        file.write('{"what": "pu\n[1]\n')
    assert pushed(tmp_path, serving, 2).path is None


@pytest.mark.parametrize(
    ("to", "reason", "said"),
    [
        (7, "why", "--to must be a version of .*, got 7: there are 1, 2"),
        (2, "why", "--to must be an earlier version than what is served, got 2"),
        (1, " ", "--reason must say why"),
    ],
)
def test_going_nowhere(
    tmp_path: Path, serving: ServingDirectory, to: int, reason: str, said: str
) -> None:
    for number in (1, 2):
        pushed(tmp_path, serving, number)
    with pytest.raises(Mistake, match=said):
        api.rollback(serving.path, to, reason, check=False)


def test_going_back_to_what_is_damaged(tmp_path: Path, serving: ServingDirectory) -> None:
    for number in (1, 2):
        pushed(tmp_path, serving, number)
    (serving.version(1) / "padding").write_bytes(b"x")
    with pytest.raises(Mistake, match="got a changed padding"):
        api.rollback(serving.path, 1, "why", check=False)
    assert serving.versions() == [1, 2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_process(tmp_path: Path, pushed: Path) -> None:
    """What is asked there: golden vectors, warm-up, within limits."""
    fresh.check(pushed, "image", fresh.MEMORY, fresh.SECONDS)
    with pytest.raises(Mistake, match=r"push\.check_seconds must be enough"):
        fresh.check(pushed, "image", fresh.MEMORY, 0.5)
    with pytest.raises(Mistake, match=r"must load and answer in a new process with 100,000,000"):
        fresh.check(pushed, "image", 100_000_000, fresh.SECONDS)
    never = tmp_path / "written"
    evil = programs.model(tmp_path / "evil", programs.IN_A_SIGNATURE[0][1], str(never))
    with pytest.raises(Mistake, match="must only compute, got the operation 'WriteFile'"):
        fresh.check(evil, "image", fresh.MEMORY, fresh.SECONDS)
    assert not never.exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_scheduled_run_does_not_undo_it(here: InProcess, tiny_recipe: Path) -> None:
    first = here.result(tiny_recipe)
    second = here.result(tiny_recipe, "--head.epochs", 20, "--bless.max-drop", 1)
    assert second["version"] == 2
    done = here("rollback", "tiny", "--to", 1, "--reason", "worse", "--store", here.store)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{Path(first['pushed']).parent / '3'}\n"
    again = here.result(tiny_recipe, "--head.epochs", 20, "--bless.max-drop", 1)
    assert (again["outcome"], again["version"]) == ("withdrawn", None)
    assert ServingDirectory(Path(first["pushed"]).parent).versions() == [1, 2, 3]


def test_somebody_is_at_work_there(
    tmp_path: Path, command_line: CommandLine, tiny_recipe: Path
) -> None:
    """Two stores, one serving directory: the other one waits for nobody, and says who it is."""
    serving = tmp_path / "serving"
    with held(serving / LOCK, "serving directory", "--serving-dir"):
        began = time.monotonic()
        done = command_line.run(tiny_recipe, "--serving-dir", serving)
        assert time.monotonic() - began < 15
        assert done.returncode == 4
        assert f"the serving directory {serving} is held by another run" in done.stderr
        assert f"(process {os.getpid()} on " in done.stderr
        for number in (1, 2):
            pushed(tmp_path, ServingDirectory(serving), number)
        with pytest.raises(StoreIsHeld):
            api.rollback(serving, 1, "why", check=False)
    # A lock that a dead holder left holds nobody.
    (serving / LOCK).write_text("1 on nowhere")
    with held(serving / LOCK, "serving directory", "--serving-dir"):
        pass


def key_pair(directory: Path, name: str) -> None:
    """As cosign and `openssl ecparam -name prime256v1` make it."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / f"{name}.pem").write_bytes(private)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (directory / f"{name}.pub").write_bytes(public)


def test_signed(tmp_path: Path, serving: ServingDirectory) -> None:
    """By a key as cosign and OpenSSL have them, and as these verify it; before it is loaded."""
    for name in ("ours", "theirs"):
        key_pair(tmp_path, name)
    ours, theirs = tmp_path / "ours.pub", tmp_path / "theirs.pub"
    pushed(tmp_path, serving, 1, sign=str(tmp_path / "ours.pem"))
    version = serving.version(1)
    verify_manifest(version)
    signing.verify(version, ours)
    plain = tmp_path / "signature"
    plain.write_bytes(base64.b64decode((version / signing.SIGNATURE).read_bytes()))
    if openssl := shutil.which("openssl"):
        told = [openssl, "dgst", "-sha256", "-verify", str(ours), "-signature", str(plain)]
        done = subprocess.run(
            [*told, str(version / MANIFEST)], capture_output=True, text=True, check=False
        )
        assert done.stdout == "Verified OK\n"
    with pytest.raises(Mistake, match=r"must be signed by .*theirs\.pub', got another signature"):
        api.load(version, public_key=theirs)
    assert api.load(version, public_key=ours).path == version
    # A manifest that fits a changed model has another signature.
    signature = (version / signing.SIGNATURE).read_bytes()
    (version / signing.SIGNATURE).unlink()
    (version / "padding").write_bytes(b"changed")
    programs.signed_off(version, number=1)
    (version / signing.SIGNATURE).write_bytes(signature)
    assert api.load(version).path == version
    with pytest.raises(Mistake, match="got another signature"):
        api.load(version, public_key=ours)
    (version / signing.SIGNATURE).unlink()
    with pytest.raises(Mistake, match=r"must be signed, got no MANIFEST\.json\.sig"):
        api.load(version, public_key=ours)
    with pytest.raises(Mistake, match=r"push\.public_key must be a key in PEM"):
        signing.check_keys("", str(version / MANIFEST))
    with pytest.raises(Mistake, match=r"push\.sign must be a key in PEM"):
        signing.check_keys(str(tmp_path / "none.pem"), "")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_not_signed_is_no_baseline(here: InProcess, tiny_recipe: Path) -> None:
    key_pair(here.directory, "key")
    here.result(tiny_recipe)
    keys = ("--push.sign", "key.pem", "--push.public-key", "key.pub", "--bless.max-drop", 1)
    done = here.run(tiny_recipe, *keys, "--head.epochs", 20)
    assert done.returncode == 0, done.stderr
    assert "is not a whole model of ours, or not signed" in done.stderr
    told = here.result(tiny_recipe, *keys, "--head.epochs", 21)
    assert told["version"] == 3
    assert "blessed.evaluate" in {stage["name"] for stage in told["stages"]}
    # Nor where the same run again is to be compared with what it was compared with before.
    (Path(told["pushed"]).parent / "2" / "MANIFEST.json.sig").unlink()
    again = here.result(tiny_recipe, *keys, "--head.epochs", 21)
    assert "blessed.evaluate" not in {stage["name"] for stage in again["stages"]}


def test_names_that_are_no_versions(tmp_path: Path, serving: ServingDirectory) -> None:
    """Of those that a server does not take for versions, none decides what the next one is."""
    pushed(tmp_path, serving, 1)
    for name in ("007", "٣", "²", str(2**63), "9" * 200):
        (serving.path / name).mkdir()
    assert serving.versions() == [1]
    with (serving.path / JOURNAL).open("a") as file:
        file.write('{"what": "pushed", "version": ' + "9" * 30 + "}\n" + '{"what": "pushed"}\n')
    assert pushed(tmp_path, serving, 2).path == serving.version(2)


def test_a_journal_that_somebody_wrote_in(tmp_path: Path, serving: ServingDirectory) -> None:
    """A line without its date or its reason still withdraws a model."""
    pushed(tmp_path, serving, 1)
    digest = serving.journal()[-1].manifest
    with (serving.path / JOURNAL).open("a") as file:
        file.write(json.dumps({"what": "rolled back", "withdrawn": [digest]}) + "\n")
    said = pushed(tmp_path, serving, 1).reason
    assert said.startswith("It was withdrawn on an unknown day (no reason was given)")


def test_a_push_that_was_killed_after_it_says_the_same(
    tmp_path: Path, serving: ServingDirectory
) -> None:
    """Or all that comes after it, the report, would be another artifact."""
    first, again = pushed(tmp_path, serving, 1), pushed(tmp_path, serving, 1)
    assert again.stats["already"]
    assert (again.reason, again.path) == (first.reason, first.path)
