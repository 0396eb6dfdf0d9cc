"""The files in a folder: which of them may be read, and which are passed over.

Folders have more in them than examples: what a notebook, a Mac or a version control left there,
links to what was never fetched (DVC, git-annex) or to elsewhere, pipes. Nothing of it is passed
over without a word: every file is found once, and is used, set aside with a reason, or ignored.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.mistakes import printable

# What is hidden where names do not begin with a dot.
_HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information")


@dataclass(frozen=True)
class Found:
    """Something in a folder that is no folder.

    Attributes:
        problem: why it cannot be read, where it cannot.
        hidden: it, or a folder that it is in.
    """

    path: str
    problem: str = ""
    hidden: bool = False


def is_hidden(name: str) -> bool:
    """Whether what is called so is there for a program, not for a person."""
    return name.startswith(".") or name in _HIDDEN


def walk(folder: Path, bound: Path | None) -> Iterator[Found]:
    """All that is in a folder and its folders, by name.

    Args:
        bound: where links may lead to, resolved; anywhere where there is none.
    """
    linked: set[str] = set()
    # The folders that it is in, each resolved, whether it is hidden, and what is left of it.
    within = [(os.path.realpath(folder), False, _there(str(folder), hidden=False))]
    while within:
        real, hidden, left = within[-1]
        entry = next(left, None)
        if entry is None:
            within.pop()
            continue
        if isinstance(entry, Found):
            yield entry
            continue
        below = hidden or is_hidden(entry.name)
        kind, problem = kind_of(entry.path, bound)
        if kind != "folder":
            yield Found(entry.path, problem, below)
            continue
        to = os.path.join(real, entry.name)
        if entry.is_symlink():
            to = os.path.realpath(entry.path)
            if to in (above for above, _, _ in within):
                problem = "is a link to a folder that it is in"
            elif to in linked:
                # A few links to folders with links to folders … are paths without number.
                problem = "is a link to a folder that another link leads to"
            linked.add(to)
        if problem:
            yield Found(entry.path, problem, hidden)
        else:
            within.append((to, below, _there(entry.path, hidden=below)))


def _there(folder: str, *, hidden: bool) -> Iterator[os.DirEntry[str] | Found]:
    """What is in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        return iter([Found(folder, f"cannot be read: {error.strerror}", hidden)])


def kind_of(path: str, bound: Path | None) -> tuple[Literal["file", "folder", "other"], str]:
    """What is at `path`, and why it cannot be read, where it cannot."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            if problem := outside(path, bound):
                return "other", problem
            mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if os.path.islink(path):
            return "other", "is a link to nothing"
        if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return "other", f"cannot be read: {error.strerror}"
        return "other", "is not there"
    if stat.S_ISDIR(mode):
        return "folder", ""
    return ("file", "") if stat.S_ISREG(mode) else ("other", "is no regular file")


def outside(path: str, bound: Path | None) -> str:
    """Where a file is not below `bound`, wherever links lead: what is wrong; empty otherwise."""
    if bound is None:
        return ""
    try:
        real = os.path.join(_real(os.path.dirname(path)), os.path.basename(path))
        if os.path.islink(path) or os.path.basename(path) in ("", ".", ".."):
            real = os.path.realpath(path)
    except (OSError, ValueError):  # No name that there can be.
        return ""
    if Path(real).is_relative_to(bound):
        return ""
    what = "is a link out of" if os.path.islink(path) else "is outside"
    return f"{what} {printable(str(bound))}: --data.root"


@functools.lru_cache(maxsize=100_000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
