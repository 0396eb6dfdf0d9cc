"""The interpreter of the flow that says what would run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from components.files import read_json
from pipeline.interpreters.base import Interpreter, Invocation
from pipeline.records import Step
from pipeline.store import ARTIFACT, Absent, Call, Store


@dataclass(frozen=True)
class Planner(Interpreter):
    """Says of each stage whether it would be reused, and if not, why; computes nothing."""

    store: Store
    fresh: bool
    steps: list[Step]

    def interpret(self, asked: Invocation) -> Any:
        call, name = asked.call, asked.name
        artifact: Any = None if self.fresh else self.store.find(call)
        if artifact is None:
            self.steps.append(Step(name, "would run", 0.0, "", {}, self._why(call)))
            return Absent()
        self.steps.append(Step(name, "reused", 0.0, str(artifact.directory), artifact.stats))
        return artifact

    def _why(self, call: Call) -> str:
        """What differs from the last time this stage ran."""
        if self.fresh:
            return "--fresh"
        if _is_absent(call.inputs):
            return "an earlier stage runs"
        made = list((self.store.root / call.stage).glob(f"*/{ARTIFACT}"))
        if not made:
            return "never run"
        last = read_json(max(made, key=lambda path: path.stat().st_mtime))["inputs"]
        return ", ".join(_differences(last, call.inputs)) or "its result is gone"


def _is_absent(value: Any) -> bool:
    """Whether any of it would have to be made first."""
    if not isinstance(value, dict):
        return False
    return value.get("digest") == Absent.digest or any(map(_is_absent, value.values()))


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The paths of what changed between two inputs' records, with the values of plain ones."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted(old.keys() | new.keys()):
            path = name if key == "digest" else f"{name}.{key}".lstrip(".")
            found += _differences(old.get(key), new.get(key), path)
        return found
    old, new = (list(v) if isinstance(v, tuple) else v for v in (old, new))
    if old == new:
        return []
    plain = all(not isinstance(v, str) or len(v) < 40 for v in (old, new))
    return [f"{name}: {old} → {new}" if plain else f"{name} changed"]


def print_plan(steps: list[Step]) -> None:
    """The plan as lines on standard output."""
    width = max(len(step.name) for step in steps)
    for step in steps:
        why = f"  ({step.why})" if step.why else ""
        sys.stdout.write(f"{step.name:<{width}}  {step.status}{why}\n")
