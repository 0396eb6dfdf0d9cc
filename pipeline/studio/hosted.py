"""Serves the versions of a model, as the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from components.served.hosting import Hosting, Policy
from components.served.manifest import find_model, is_version
from models.mistakes import Mistake
from models.quiet import import_tensorflow
from pipeline import local
from pipeline.studio import server


@dataclass(frozen=True)
class Hosted:
    """How a model is served.

    Attributes:
        labels: names that stand for a version.
        most_instances: of a request; and `most_bytes` of its body.
        threads: requests that are computed at a time, while so many are `waiting`.
        poll_seconds: between two looks for other versions.
    """

    policy: Policy = field(default_factory=Policy)
    labels: Mapping[str, int] = field(default_factory=dict)
    most_instances: int = 1024
    most_bytes: int = 64 << 20
    threads: int = 2
    waiting: int = 256
    poll_seconds: float = 1.0

    @classmethod
    def of(cls, versions: str, labels: Sequence[str], most_bytes: str, **options: int) -> Hosted:
        """As the command line has it; see `serve`."""
        return cls(
            policy=_policy(versions),
            labels=dict(map(_label, labels)),
            most_bytes=_bytes(most_bytes),
            **options,
        )


def hosted(model: Path, store: Path, name: str, port: int, options: Hosted) -> int:
    """Answer as TensorFlow Serving does for the versions of a model, and say where.

    Args:
        model: a serving directory, or the directory of a version; or a name in `store`.
        name: of the model, in addresses; that of its serving directory where it is empty.
    """
    local.require()
    from pipeline.studio import rest

    place = _place(model, store)
    name = name or (place.parent if is_version(place.name) else place).name
    import_tensorflow()
    hosting = Hosting(place, policy=options.policy, labels=options.labels, say=server.to_stderr)
    hosting.refresh()
    if not any(version.state == "AVAILABLE" for version in hosting.states()):
        raise Mistake(f"MODEL must have a version that can be loaded, got {str(place)!r}")
    answers = rest.Rest(
        hosting,
        name,
        most=options.most_instances,
        most_bytes=options.most_bytes,
        threads=options.threads,
        waiting=options.waiting,
    )
    address = local.listen(port, server.to_stderr)
    rest.watch(hosting, options.poll_seconds)
    server.to_stderr(f"POST http://{local.LOOPBACK}:{address.port}/v1/models/{name}:predict")
    server.answer(answers.app(), address)
    return 0


def _place(model: Path, store: Path) -> Path:
    """The folder of a version that was named, or of the versions of which it is one."""
    newest = find_model(model, store / "serving").resolve()
    return newest if newest == model.resolve() else newest.parent


def _policy(versions: str) -> Policy:
    words = [word.strip() for word in versions.split(",")]
    if versions == "all":
        return Policy(latest=0)
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise Mistake(f"--versions must be how many, or all, or which, such as 3,4, got {versions}")
    several = tuple(map(int, words))
    return Policy(specific=several) if len(several) > 1 else Policy(latest=several[0])


def _label(given: str) -> tuple[str, int]:
    name, mark, version = given.partition("=")
    if not (name and mark and version.isdecimal()):
        raise Mistake(f"--label must be NAME=VERSION, got {given!r}")
    return name, int(version)


def _bytes(given: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(given))
    except ValidationError:
        raise Mistake(f"--most-bytes must be a size such as 64MiB, got {given!r}") from None
