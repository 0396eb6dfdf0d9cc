"""What a result is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

from components.artifacts import Artifact, SoFar
from components.files import read_json

# Fields of artifacts that come from a branch of the flow → its prefix.
_BRANCHES = {"source": "pretrain.", "control": "control.", "blessed": "blessed."}


def lineage(so_far: SoFar) -> list[dict[str, Any]]:
    """Every artifact the result is made of, each once, with its branch, the earliest first."""
    found: dict[str, dict[str, Any]] = {}

    def visit(artifact: Artifact, branch: str) -> None:
        for name in type(artifact).model_fields:
            if isinstance(inner := getattr(artifact, name), Artifact):
                visit(inner, _BRANCHES.get(name, branch))
        if artifact.ref and artifact.ref not in found:
            manifest = read_json(artifact.directory / "artifact.json")
            found[artifact.ref] = {
                "name": f"{branch}{manifest['stage']}",
                "ref": artifact.ref,
                "seconds": manifest["seconds"],
                "created": manifest["created"],
                "bytes": sum(file["size"] for file in manifest["files"].values()),
            }

    # Those of a branch last: what a branch shares with the rest has the name of the rest.
    parts = {field.name: getattr(so_far, field.name) for field in dataclasses.fields(so_far)}
    for name, part in (parts | so_far.rivals.named()).items():
        if isinstance(part, Artifact):
            visit(part, _BRANCHES.get(name, ""))
    return sorted(found.values(), key=lambda row: row["created"])
