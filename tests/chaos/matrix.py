"""Every stage, hit at every moment by every fault: the same command again comes to the same end.

    python -m tests.chaos.matrix                 all of it, a table at the end
    python -m tests.chaos.matrix --chains 1      an 18th of it
    python -m tests.chaos.matrix --stage push    of one stage alone, each by itself

A run in a process of its own is hit where it says; then the same command runs again, with no
clean-up by hand, and must end with the artifacts and the version that a run gives which nothing
hit. In a chain it is hit again in its next stage, by another fault: each stage once, and once each
fault. Disks are filled up for real, where this may mount a small one (a tmpfs, as root).
"""

from __future__ import annotations

import argparse
import errno
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.served.versions import JOURNAL

ARGUMENTS = (
    *("run", "digits", "--data.labels-per-class", "12", "--head.epochs", "2"),
    *("--fine-tune.epochs", "2", "--pretrain.epochs", "1", "--control.epochs", "1"),
    *("--pretrain.data.labels-per-class", "12", "--bless.no-beat-trivial", "--json"),
    *("--bless.no-beat-control", "--head.features", "last"),
)
MOMENTS = ("before", "middle", "written", "committed")
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM}
DAMAGE = ("truncated", "flipped")
# SIGTERM is obeyed within so many seconds.
MOST_SECONDS = 10.0
_DISK = 48 << 20


@dataclass(frozen=True)
class Trial:
    """A fault at a moment of a stage."""

    stage: str
    moment: str
    fault: str

    def __str__(self) -> str:
        return f"{self.stage} {self.moment} {self.fault}"


def chains(stages: list[str], *, disk: bool) -> list[list[Trial]]:
    """All of them, so that each goes through all stages, with a fault for each.

    What is damaged is so after it was committed, and found when it is used.
    """
    faults = [*SIGNALS, "EIO", *(["ENOSPC"] if disk else [])]
    kinds = [*itertools.product(MOMENTS, faults), *(("committed", fault) for fault in DAMAGE)]
    return [
        [Trial(stage, *kinds[(start + at) % len(kinds)]) for at, stage in enumerate(stages)]
        for start in range(len(kinds))
    ]


# --- in the process that is hit ---


def arm(trial: Trial, place: Path, artifact: str) -> None:
    """Have the fault happen when the stage, known by the artifact that it makes, is there."""
    from pipeline.store import Store

    begin, commit = Store.begin, Store.commit

    def is_it(call: Any) -> bool:
        return f"{call.stage}/{call.fingerprint}" == artifact

    def begins(store: Any, call: Any, **options: Any) -> Path:
        directory: Path = begin(store, call, **options)
        if is_it(call):
            if trial.moment == "before":
                strike(trial, place, directory)
            if trial.moment == "middle":
                threading.Thread(target=_watch, args=(trial, place, directory), daemon=True).start()
        return directory

    def commits(store: Any, call: Any, artifact: Any, seconds: float) -> Any:
        missed = trial.moment == "middle" and not (place / "struck").exists()
        if is_it(call) and (missed or trial.moment == "written"):
            strike(trial, place, artifact.directory)
        committed = commit(store, call, artifact, seconds)
        if is_it(call) and trial.moment == "committed":
            strike(trial, place, artifact.directory)
        return committed

    patched: Any = Store
    patched.begin, patched.commit = begins, commits


def _watch(trial: Trial, place: Path, directory: Path) -> None:
    """Strike as soon as something was written."""
    while not _has_content(directory):
        time.sleep(0.0005)
    strike(trial, place, directory)


def _has_content(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.is_dir() or entry.stat().st_size for entry in entries)
    except FileNotFoundError:  # It was there, under another name: a file is renamed when whole.
        return True


def strike(trial: Trial, place: Path, directory: Path) -> None:
    if trial.fault in SIGNALS:
        (place / "struck").write_text(str(time.time()))
        os.kill(os.getpid(), SIGNALS[trial.fault])
        time.sleep(0.5)  # Whoever struck is not who is told.
    elif trial.fault == "ENOSPC":
        (place / "struck").write_text("")
        with (place / "disk" / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(1 << 16)):
                    pass
            except OSError:
                pass
    elif trial.fault == "EIO":
        (place / "struck").write_text("")
        _fail_from_now_on(place / "disk")
    else:
        (place / "struck").write_text("")
        damage(directory, trial.fault)
        os.kill(os.getpid(), signal.SIGKILL)


def damage(directory: Path, how: str) -> None:
    """The largest file of an artifact that is not its manifest, or else that."""
    files = [p for p in directory.rglob("*") if p.is_file()]
    path = max(files, key=lambda p: (p.name != "artifact.json", p.stat().st_size))
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif content:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _fail_from_now_on(disk: Path) -> None:
    """What Python opens, syncs or renames there fails as where a disk does."""

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **more: Any) -> Any:
            where = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            if where.startswith(str(disk)):
                raise OSError(errno.EIO, os.strerror(errno.EIO), where)
            return real(path, *rest, **more)

        return call

    for name in ("open", "replace", "rename", "mkdir"):
        setattr(os, name, failing(getattr(os, name)))
    patched: Any = io
    patched.open = failing(io.open)


# --- in the process that tries ---


def start(place: Path, trial: Trial | None = None, artifact: str = "") -> tuple[int, float]:
    """Run in a child: its exit status, negative for a signal, and when it ended."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.chdir(place)
            import run_pipeline

            if trial:
                arm(trial, place, artifact)
            status = run_pipeline.main([*ARGUMENTS, "--store", str(place / "disk" / "store")])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, waited = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(waited), time.time()


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A folder `disk`, of its own where that may be mounted."""
    disk = place / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "none", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
        shutil.rmtree(disk, ignore_errors=True)


def digests(store: Path) -> dict[str, str]:
    """Each artifact → the digest of what it says."""
    found = {}
    for path in sorted(store.glob("*/*/artifact.json")):
        content = json.loads(path.read_text())
        found[f"{content['stage']}/{content['fingerprint']}"] = content["digest"]
    return found


def litter(disk: Path) -> list[str]:
    """What is no part of a store or of a serving directory."""
    hidden = [
        path
        for path in disk.rglob(".*")
        if "activations" not in path.parts and path.name != JOURNAL
    ]
    return [str(p.relative_to(disk)) for p in (*hidden, *disk.glob("store/tmp"))]


@dataclass(frozen=True)
class Expected:
    """A run that nothing hit.

    Attributes:
        stages: the name of each, in their order → its artifact.
    """

    store: Path
    stages: dict[str, str]
    digests: dict[str, str]

    def until(self, stage: str, store: Path) -> None:
        """A store in which all stages before `stage` are done."""
        shutil.copytree(self.store, store)
        names = list(self.stages)
        kept = {self.stages[name] for name in names[: names.index(stage)]}
        for ref in set(self.stages.values()) - kept:
            manifest = (store / ref / "artifact.json").read_text()
            for kept_apart in (store / "activations").glob("*"):
                if kept_apart.name in manifest:
                    shutil.rmtree(kept_apart)
            shutil.rmtree(store / ref)
        for folder in ("tensorboard", *(["serving", "runs"] if stage != "report" else [])):
            shutil.rmtree(store / folder, ignore_errors=True)
        for path in (store / "runs").glob("*.json"):  # Of a run that was killed after its push.
            record = json.loads(path.read_text())
            path.write_text(json.dumps(record | {"outcome": "running", "pushed": None}))


def hit(trial: Trial, place: Path, expected: Expected) -> str:
    """What went wrong where a run was hit; empty where it ended as it should."""
    struck, errors = place / "struck", place / "err"
    struck.unlink(missing_ok=True)
    status, ended = start(place, trial, expected.stages[trial.stage])
    (place / "disk" / "filler").unlink(missing_ok=True)
    if not struck.exists():
        return f"was not hit, exit {status}: {errors.read_text()[-300:]}"
    for version in (place / "disk" / "store" / "serving").glob("*/[0-9]*"):
        if not (version / "MANIFEST.json").exists():
            return f"half a version: {version.name}"
    if trial.fault == "SIGTERM":
        seconds = ended - float(struck.read_text())
        in_time = status == 143 and seconds < MOST_SECONDS
        return "" if in_time else f"exit {status} after {seconds:.1f} s"
    if trial.fault == "SIGKILL" or trial.fault in DAMAGE:
        return "" if status == -signal.SIGKILL else f"exit {status}: {errors.read_text()[-300:]}"
    lines = errors.read_text().splitlines()
    if status not in (0, 2) or "Traceback (most recent call last):" in lines:
        return f"exit {status}: " + "\n".join(lines[-25:])
    return ""


def ends(place: Path, expected: Expected) -> str:
    """What went wrong with the same command after all; empty where nothing was lost."""
    status, _ = start(place)
    if status != 0:
        return f"again: exit {status}: {(place / 'err').read_text()[-300:]}"
    if json.loads((place / "out").read_text())["version"] != 1:
        return "another version"
    got = digests(place / "disk" / "store")
    if got != expected.digests:
        return f"other artifacts: {sorted(set(got.items()) ^ set(expected.digests.items()))}"
    return f"litter: {left[:3]}" if (left := litter(place / "disk")) else ""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.matrix", description=__doc__)
    parser.add_argument("--chains", type=int, help="so many of the chains")
    parser.add_argument("--first", type=int, default=0, help="from this one on")
    parser.add_argument("--stage", default="", help="one stage alone, in trials by themselves")
    parser.add_argument("--fault", default="", help="of these, one fault alone")
    asked = parser.parse_args(words)
    from models.quiet import import_tensorflow

    import_tensorflow()  # Once: it is forked, before it has computed anything.
    with tempfile.TemporaryDirectory(prefix="matrix-") as directory:
        root = Path(directory)
        with _place(root) as (place, has_disk):
            status, _ = start(place)
            if status:
                sys.stderr.write((place / "err").read_text())
                return 1
            result = json.loads((place / "out").read_text())
            store = root / "store"
            shutil.copytree(place / "disk" / "store", store)
        stages = {s["name"]: "/".join(s["artifact"].split("/")[-2:]) for s in result["stages"]}
        expected = Expected(store, stages, digests(store))
        tried = chains([*stages], disk=has_disk)[asked.first :][: asked.chains]
        if asked.stage:
            alone = [t for chain in tried for t in chain if t.stage == asked.stage]
            tried = [[t] for t in alone if asked.fault in ("", t.fault)]
        results = [result for chain in tried for result in _tried(chain, root, expected)]
    _tell(results)
    return 1 if any(was_lost for _, was_lost in results) else 0


@contextmanager
def _place(root: Path) -> Iterator[tuple[Path, bool]]:
    """Always the same one: what is pushed says where."""
    place = root / "place"
    place.mkdir()
    with small_disk(place) as has_disk:
        yield place, has_disk
    shutil.rmtree(place)


def _tried(chain: list[Trial], root: Path, expected: Expected) -> list[tuple[Trial, bool]]:
    """Those of a chain that could be tried, and whether something was lost.

    A run that is told to stop may go on for some seconds: what it has passed is not tried here, but
    by `--stage`, alone.
    """
    results = []
    with _place(root) as (place, _):
        store = place / "disk" / "store"
        expected.until(chain[0].stage, store)
        for trial in chain:
            if (store / expected.stages[trial.stage] / "artifact.json").exists():
                sys.stderr.write(f"{trial}: NOT TRIED, it is there already\n")
                continue
            wrong = hit(trial, place, expected)
            sys.stderr.write(f"{trial}: {wrong or 'as it should'}\n")
            results.append((trial, bool(wrong)))
        wrong = ends(place, expected)
        sys.stderr.write(f"then: {wrong or 'nothing was lost'}\n")
    return [(trial, was_lost or bool(wrong)) for trial, was_lost in results]


def _tell(results: list[tuple[Trial, bool]]) -> None:
    """A row a fault and moment."""
    tries = Counter((trial.fault, trial.moment) for trial, _ in results)
    gone = Counter((trial.fault, trial.moment) for trial, was_lost in results if was_lost)
    print(f"{'fault':<10} {'moment':<10} {'tries':>5} {'survived':>8} {'lost':>5}")
    for key, count in sorted(tries.items()):
        print(f"{key[0]:<10} {key[1]:<10} {count:>5} {count - gone[key]:>8} {gone[key]:>5}")
    lost = gone.total()
    print(f"{'all':<21} {len(results):>5} {len(results) - lost:>8} {lost:>5}")


if __name__ == "__main__":
    sys.exit(main())
