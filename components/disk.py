"""A disk that is full, or fails: said in one line, whatever library met it first."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

from components.section import size
from models.mistakes import Mistake

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAILED = (errno.EIO, errno.EROFS, errno.ESTALE)
# Libraries in C++ say it in words alone.
_WORDS = (
    *("no space left on device", "not enough disk space", "disk quota exceeded"),
    "input/output error",
)


def mistake_of(error: BaseException, *places: Path) -> Mistake | None:
    """What is to be told where a disk is the cause of `error`; None where it is not.

    Args:
        places: where is written to.
    """
    if not is_of_disk(error):
        return None
    disks = {_nearest(place).stat().st_dev: place for place in reversed(places)}
    free = ", ".join(f"{size(_free(place))} free for {str(place)!r}" for place in disks.values())
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    return Mistake(
        f"the disk must take what is written, got {reason}"
        + (f"; there is {free}" if places else "")
        + ": make room, and run the same command again to go on"
    )


def require_room(place: Path, needed: int, what: str) -> None:
    """A `Mistake` unless so many bytes are free on the disk of a folder, before it is begun."""
    if needed > (free := _free(place)):
        raise Mistake(
            f"the disk must have room for {what}: {size(needed)}, got {size(free)} free for "
            f"{str(place)!r}: make room, or see prune"
        )


def save_weights(network: Any, path: Path) -> None:
    """`network.save_weights` where there is room: HDF5 never gets over a file it cannot end."""
    needed = 4 * network.count_params() + 4096 * (1 + len(network.variables))
    require_room(path.parent, needed, "weights")
    network.save_weights(path)


def _free(place: Path) -> int:
    """Bytes on the disk of a folder, or of the nearest that there is."""
    return shutil.disk_usage(_nearest(place)).free


def _nearest(place: Path) -> Path:
    return next(path for path in [place, *place.absolute().parents] if path.exists())


def is_of_disk(error: BaseException | None) -> bool:
    """Whether a disk that is full, or fails, is the cause of an error."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (*_FULL, *_FAILED):
            return True
        said = " ".join([str(error), *getattr(error, "__notes__", [])]).lower()
        if any(words in said for words in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
