"""push (TFX: Pusher, after InfraValidator): a blessed model into the directory that a server
watches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ByteSize, Field, field_validator

from components.artifacts import Blessing, ExportedModel, PushedModel
from components.files import sha256
from components.job import Job, stage
from components.section import NOT_HASHED, Place, Section, UnhashedBool, seconds_of
from components.served import fresh
from components.served.manifest import MANIFEST
from components.served.versions import ServingDirectory
from models.mistakes import Mistake


class PushConfig(Section):
    """Versions in the serving directory."""

    check: UnhashedBool = True
    """Before it is pushed, load the model in a new process, compare its golden vectors and replay
    its warm-up requests."""
    check_memory: Annotated[ByteSize, NOT_HASHED] = Field(ByteSize(fresh.MEMORY), ge=100_000_000)
    """Memory that the new process may take."""
    check_seconds: Annotated[float, NOT_HASHED] = Field(fresh.SECONDS, gt=0)
    """Seconds that it may take."""
    keep: Annotated[int | None, NOT_HASHED] = Field(None, ge=1)
    """Remove all but so many versions, the highest ones; all stay where not given."""
    sign: Place = ""
    """A private key, PEM, of an elliptic curve: sign the manifest of what is pushed, as cosign and
    OpenSSL verify it. The environment's SHOULDERS_KEY_PASSWORD opens it."""
    public_key: Place = ""
    """A public key, PEM: the last blessed model must be signed by it, before it is loaded."""
    grace: Annotated[str, NOT_HASHED] = "24h"
    """With `keep`: a version that is younger stays, such as 30m or 24h."""

    @field_validator("grace")
    @classmethod
    def _is_duration(cls, grace: str) -> str:
        if not seconds_of(grace):
            raise Mistake(f"push.grace must be a duration, such as 30m or 24h, got {grace!r}")
        return grace


@stage(version=3, plain=True)
def push(
    job: Job,
    model: ExportedModel,
    blessing: Blessing,
    serving: ServingDirectory,
    config: PushConfig,
) -> PushedModel:
    """Put a blessed model into `serving` as its highest version; see `ServingDirectory.put`.

    A model that a person went back from is not pushed again by itself.

    Raises:
        Mistake: a new process cannot load it, or it says something else there.
    """
    skipped = {"skipped": True}
    if not blessing.blessed:
        reason = "It was not blessed, so nothing was pushed."
        return PushedModel(directory=job.directory, path=None, reason=reason, stats=skipped)
    if entry := serving.withdrawn().get(sha256(model.path / MANIFEST)):
        when = entry.time.partition("T")[0]
        reason = f"It was withdrawn on {when} ({entry.reason}), so it was not pushed again."
        job.say(reason)
        return PushedModel(
            directory=job.directory, path=None, reason=reason, withdrawn=True, stats=skipped
        )
    version = serving.holds(model.path)
    stats: dict[str, Any] = {"already": True} if version else {}
    if version is None:
        version = _put(job, model, serving, config)
    if config.keep and (removed := serving.trim(config.keep, seconds_of(config.grace))):
        stats["removed"] = removed
    # The same whether it was put there now, or by this run before it was killed.
    return PushedModel(
        directory=job.directory,
        path=version,
        reason=f"It is served as version {version.name}.",
        stats={"version": int(version.name), "path": str(version), **stats},
    )


def _put(job: Job, model: ExportedModel, serving: ServingDirectory, config: PushConfig) -> Path:
    if config.check:
        job.doing("loading it in a new process")
        fresh.check(model.path, model.modality, int(config.check_memory), config.check_seconds)
    gone = serving.gone(model.path)
    version = serving.put(model.path, key=Path(config.sign) if config.sign else None)
    if gone:
        job.say(
            f"version {gone} was this model, and was removed by hand; it is version {version.name} "
            f"now: to go back for good, say rollback"
        )
    return version
