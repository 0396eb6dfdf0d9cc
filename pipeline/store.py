"""The store: artifacts by fingerprint, whole or absent, and one run at a time.

```
STORE/
    STAGE/FINGERPRINT/           a stage's files; artifact.json last
    activations/                 what frozen networks gave, shared by all runs
    digests/LOCATION.json        of files of raw data, as they were when they were read last
    scratch/STAGE-FINGERPRINT/   resumable state of a stage that is not done
    runs/RUN_ID.json             past runs
    serving/RECIPE/              the default serving directory
    tune/DIGEST/                 the trials of a search
    locks/                       what the tasks of a cluster wait for each other with
    tmp/                         what libraries write for a moment
    lock
```
"""

from __future__ import annotations

import dataclasses
import fcntl
import inspect
import os
import platform
import shutil
import tempfile
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from components.artifacts import Artifact
from components.files import (
    check_place,
    files_below,
    manifest_of,
    read_json,
    sha256_of_json,
    write_json,
)
from components.frozen.activations import Damaged
from components.section import NOT_HASHED, Digested
from models.mistakes import Mistake, printable

A = TypeVar("A", bound=Artifact)

ARTIFACT = "artifact.json"
# What reading what is not what was written raises.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
_KEYS = {"version", "digest", "inputs", "facts", "stats", "files"}
_LIBRARIES = ("tensorflow", "keras", "tensorflow-datasets", "apache-beam", "numpy")


@dataclass(frozen=True)
class Absent(Digested):
    """Stands for an artifact that is not there, where no more than its digest is asked for."""

    digest: str = "absent"


class StoreIsHeld(Exception):
    """Another run holds this store, or this serving directory."""


@dataclass(frozen=True)
class Call:
    """A stage with its arguments, which its fingerprint is made of."""

    stage: str
    version: int
    inputs: dict[str, Any]
    returns: type[Artifact]
    one_at_a_time: bool = False

    @classmethod
    def of(
        cls, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        bound = inspect.signature(function).bind(None, *args, **kwargs)
        inputs = {name: hashed(value) for name, value in list(bound.arguments.items())[1:]}
        returns = typing.get_type_hints(function)["return"]
        marks: Any = function
        return cls(function.__name__, marks.stage_version, inputs, returns, marks.one_at_a_time)

    @property
    def fingerprint(self) -> str:
        return sha256_of_json([self.stage, self.version, self.inputs])[:24]


def read_manifest(directory: Path) -> dict[str, Any]:
    """An artifact's `artifact.json`; OSError or ValueError where it is not there or damaged."""
    found = read_json(directory / ARTIFACT)
    if not isinstance(found, dict) or not found.keys() >= _KEYS:
        raise ValueError(f"{directory / ARTIFACT} is not what was written")
    return found


def hashed(value: Any) -> Any:
    """What of an argument goes into the fingerprint: content, never place or time."""
    if isinstance(value, Artifact | Digested):
        return {"digest": value.digest}
    if isinstance(value, BaseModel):
        return {
            name: hashed(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if NOT_HASHED not in field.metadata
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: hashed(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: hashed(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [hashed(each) for each in value]
    return value


def artifacts_in(value: Any) -> Iterator[Artifact]:
    """All artifacts that an argument is or has, however deep: what is read first, first."""
    if isinstance(value, Artifact):
        for name in type(value).model_fields:
            yield from artifacts_in(getattr(value, name))
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from artifacts_in(getattr(value, field.name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from artifacts_in(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from artifacts_in(each)


class Store:
    """A directory of artifacts."""

    def __init__(self, root: Path) -> None:
        self.root = check_place(root.expanduser().resolve(), "--store")
        self.activations = self.root / "activations"
        self.runs = self.root / "runs"
        self.digests = self.root / "digests"
        # Artifacts whose files were compared with their digests, or just written, by this process.
        self._whole: set[str] = set()

    def directory(self, call: Call) -> Path:
        return self.root / call.stage / call.fingerprint

    def scratch(self, call: Call) -> Path:
        return self.root / "scratch" / f"{call.stage}-{call.fingerprint}"

    @contextmanager
    def alone(self, call: Call) -> Iterator[None]:
        """Wait until nobody else computes this very call, or the same stage where it says so.

        Only the tasks of a cluster are ever at work together; see `lock`.
        """
        name = call.stage if call.one_at_a_time else f"{call.stage}-{call.fingerprint}"
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def find(self, call: Call) -> Artifact | None:
        """The artifact of this call, if it is there, whole, and still holds."""
        found: Artifact | None = self._read(call.returns, f"{call.stage}/{call.fingerprint}", None)
        return found

    def load(self, kind: type[A], ref: str) -> A | None:
        """The artifact at `ref`, `STAGE/FINGERPRINT`, and all it refers to, if they are whole.

        Whether they still hold is not asked: activations may be gone, and weights still be there.
        """
        found: A | None = self._read(kind, ref, None, must_be_valid=False)
        return found

    def earlier(self, call: Call) -> Iterator[Artifact]:
        """The artifacts of the stage of this call, whatever its arguments were, the last first."""
        made = []
        for path in (self.root / call.stage).glob(f"*/{ARTIFACT}"):
            # Another task may be at work on it, or a bad disk was.
            with suppress(OSError, ValueError):
                if read_manifest(path.parent)["version"] == call.version:
                    made.append((path.stat().st_mtime, path.parent.name))
        for _, fingerprint in sorted(made, reverse=True):
            found = self.load(call.returns, f"{call.stage}/{fingerprint}")
            if found:
                with suppress(Damaged):
                    self.verify(found)
                    yield found

    def verify(self, artifact: Artifact) -> None:
        """Compare the files of an artifact, and of all it refers to, with their digests.

        Once for each in a process: what is damaged later, by whom ever, is found the next time.

        Raises:
            Damaged: a file is not what was written. The artifact is removed: it counts as absent.
            OSError: one cannot be read, which says nothing about what is in it.
        """
        for each in artifacts_in(artifact):
            if each.ref in self._whole:
                continue
            try:
                known = read_manifest(each.directory)["files"]
                there = manifest_of(each.directory, leave_out=ARTIFACT)
                broken = next((name for name in known if there.get(name) != known[name]), None)
            except (FileNotFoundError, ValueError):
                broken = ARTIFACT
            if broken:
                shutil.rmtree(each.directory)
                raise Damaged(f"{each.ref}/{broken} is not what was written; it is made again")
            self._whole.add(each.ref)

    def begin(self, call: Call, *, fresh: bool = False) -> Path:
        """An empty directory for the stage to write into; nothing in it exists until `commit`.

        Args:
            fresh: forget what a killed run had got to, too.
        """
        if fresh:
            shutil.rmtree(self.scratch(call), ignore_errors=True)
        directory = self.directory(call)
        (directory / ARTIFACT).unlink(missing_ok=True)  # First, so that it is never half there.
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.scratch(call).mkdir(parents=True, exist_ok=True)
        self.activations.mkdir(exist_ok=True)
        return directory

    def commit(self, call: Call, artifact: A, seconds: float) -> A:
        """Write `artifact.json`, last, and return the artifact with its reference and digest."""
        files = manifest_of(artifact.directory)
        facts = _facts(artifact)
        digest = sha256_of_json([_content(facts), _contents(artifact, files)])
        committed = artifact.model_copy(
            update={"ref": f"{call.stage}/{call.fingerprint}", "digest": digest}
        )
        manifest = {
            "stage": call.stage,
            "version": call.version,
            "fingerprint": call.fingerprint,
            "digest": digest,
            "inputs": call.inputs,
            "facts": facts,
            "stats": artifact.stats,
            "files": files,
            "seconds": round(seconds, 3),
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {"python": platform.python_version()} | {n: version(n) for n in _LIBRARIES},
        }
        write_json(artifact.directory / ARTIFACT, manifest)
        self._whole.add(committed.ref)
        shutil.rmtree(self.scratch(call), ignore_errors=True)
        return committed

    def bytes_of(self, artifact: Artifact) -> int:
        """What its files take on disk."""
        files = read_manifest(artifact.directory)["files"].values()
        return int(sum(file["size"] for file in files))

    def abandon(self, call: Call, *, wholly: bool = False) -> None:
        """Remove what a stage that failed has written.

        Args:
            wholly: and what it could go on from.
        """
        shutil.rmtree(self.directory(call), ignore_errors=True)
        if wholly:
            shutil.rmtree(self.scratch(call), ignore_errors=True)

    def _read(self, kind: Any, ref: str, digest: str | None, *, must_be_valid: bool = True) -> Any:
        """The artifact at `ref`, or None; `digest`, where given, must be its own."""
        directory = self.root / ref
        try:
            manifest = read_manifest(directory)
            if digest is not None and manifest["digest"] != digest:
                return None
            paths = files_below(directory)
            sizes = {p.relative_to(directory).as_posix(): p.stat().st_size for p in paths}
            if any(sizes.get(name) != file["size"] for name, file in manifest["files"].items()):
                return None
            value = manifest["facts"] | {
                "directory": directory,
                "ref": ref,
                "digest": manifest["digest"],
                "stats": manifest["stats"],
            }
        except _UNREADABLE:  # It is removed meanwhile, or damaged.
            return None
        if "store" in kind.model_fields:
            value["store"] = self.activations

        def follow(inner: type[Artifact], inner_ref: str, inner_digest: str) -> Any:
            found = self._read(inner, inner_ref, inner_digest, must_be_valid=must_be_valid)
            if found is None:
                raise FileNotFoundError(inner_ref)
            return found

        try:
            artifact = kind.model_validate(value, context={"load": follow})
            return artifact if not must_be_valid or artifact.still_valid() else None
        except (ValidationError, *_UNREADABLE):
            return None

    @contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the store; StoreIsHeld if another process does. The kernel frees it at death.

        Args:
            shared: the tasks of a run on a cluster hold it together.
        """
        with held(self.root / "lock", "store", "--store", shared=shared):
            yield

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """What libraries write for a moment goes into the store, which nobody else holds.

        What a run leaves there that is killed, or in the middle of a small file, the next removes.
        """
        place = self.root / "tmp"
        for litter in (*self.runs.glob(".*"), *self.digests.glob(".*")):
            litter.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(place)
        known = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(place)  # For processes that are started.
        try:
            yield
        finally:
            tempfile.tempdir = before
            if known is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = known
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def held(
    lock: Path,
    what: str,
    flag: str,
    *,
    shared: bool = False,
    keep: Literal["always", "if used"] = "always",
) -> Iterator[None]:
    """Hold the folder that `lock` is in; the kernel frees it when the process dies.

    Args:
        what: the folder is, and the flag that names it.
        shared: with others who say so, too.
        keep: the folder, where it was made for this and there is nothing else in it at the end.

    Raises:
        StoreIsHeld: somebody else holds it, who is named.
        Mistake: it cannot be written.
    """
    folder = lock.parent
    new = [path for path in [folder, *folder.parents] if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+")
    except OSError as error:
        raise Mistake(
            f"{flag} must be a directory that can be written, got {str(folder)!r}: {error.strerror}"
        ) from error
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = printable(file.read(200).strip()) or "unknown"
            raise StoreIsHeld(
                f"the {what} {folder} is held by another run (process {holder})"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            if keep == "if used" and [*folder.iterdir()] == [lock]:
                lock.unlink()
                for path in new:
                    path.rmdir()


def _content(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts without the places of other artifacts: two stores with the same content agree."""
    return {
        name: value["digest"] if isinstance(value, dict) and "$artifact" in value else value
        for name, value in facts.items()
    }


def _contents(artifact: Artifact, files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The sha256 of the files that say what the artifact is."""
    left_out = artifact.not_content
    return {n: file["sha256"] for n, file in files.items() if not n.startswith(left_out)}


def _facts(artifact: Artifact) -> dict[str, Any]:
    """The fields of an artifact that say what it is; other artifacts in it as references."""
    left_out = {"ref", "digest", "stats"}
    facts: dict[str, Any] = {}
    for name, field in type(artifact).model_fields.items():
        if name in left_out or field.exclude:
            continue
        value = getattr(artifact, name)
        if isinstance(value, Artifact):
            facts[name] = {"$artifact": value.ref, "digest": value.digest}
        elif isinstance(value, BaseModel):
            facts[name] = value.model_dump(mode="json")
        elif isinstance(value, tuple):
            facts[name] = [
                each.model_dump(mode="json") if isinstance(each, BaseModel) else each
                for each in value
            ]
        else:
            facts[name] = str(value) if isinstance(value, Path) else value
    return facts
