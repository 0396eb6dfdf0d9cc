"""What a model was made with, as CycloneDX 1.5 has it: a bill of materials that scanners read.

`python -m components.served.sbom` prints that of all that is installed, for the image.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from models.version import VERSION

# What computes a model or decides about it; and all that they ask for.
_MADE_BY = (
    *("tensorflow", "keras", "keras-hub", "tensorflow-text", "tensorflow-datasets"),
    *("apache-beam", "numpy", "scipy", "scikit-learn", "pillow", "soundfile", "h5py"),
)


def bill(ours: str, versions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The same wherever the same versions are installed.

    Args:
        ours: the version of Shoulders.
        versions: of each package; of those that make a model, where not given.
    """
    python = {"type": "platform", "name": "python", "version": platform.python_version()}
    found = [
        {
            "type": "library",
            "name": name,
            "version": known,
            "purl": f"pkg:pypi/{name}@{known}",
            "bom-ref": f"pkg:pypi/{name}@{known}",
        }
        for name, known in sorted((versions or _closure()).items())
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "shoulders", "version": ours},
        },
        "components": [python, *found],
    }


@functools.cache
def _closure() -> dict[str, str]:
    """Every package that is needed → its version."""
    found: dict[str, str] = {}
    left = [*_MADE_BY]
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # Not for this platform, or not here.
            continue
        for line in requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                left.append(wanted.name)
    return found


def _installed() -> dict[str, str]:
    return {canonicalize_name(found.name): found.version for found in distributions()}


if __name__ == "__main__":
    json.dump(bill(VERSION, _installed()), sys.stdout, indent=1)
