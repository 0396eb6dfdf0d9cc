"""The version of this code."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

VERSION = "0.2.0"


@functools.cache
def described() -> str:
    """The version, and the commit where this is a checkout."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return VERSION
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 (whichever there is)
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return VERSION
    return f"{VERSION} ({done.stdout.strip()})"
