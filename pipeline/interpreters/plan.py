"""The interpreter of the flow that says what would run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.modalities.table import MODALITIES
from components.section import Section
from pipeline.config import Config
from pipeline.interpreters.base import Interpreter, Invocation
from pipeline.records import Step
from pipeline.store import Absent, Store, read_manifest

# The key of the config that is said of an argument which is no section of it.
_KEYS = {
    "allow_new_labels": "data.allow_new_labels",
    "unfreeze": "fine_tune.unfreeze",
    "vectors": "head.features",
    "views.views": "augment.views",
    "views.policies": "augment.policies",
    "learning.by_uncertainty": "balance",
    "rung.budget": "runtime.budget",
}
_SECTIONS: dict[Any, str] = {
    field.annotation: name
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


@dataclass(frozen=True)
class Planner(Interpreter):
    """Says of each stage whether it would be reused, and if not, why; computes nothing.

    Attributes:
        last: a stage's name → the reference of what this recipe's last run had of it.
    """

    store: Store
    fresh: bool
    steps: list[Step]
    last: Mapping[str, str]

    def interpret(self, asked: Invocation) -> Any:
        call, name = asked.call, asked.name
        artifact: Any = None if self.fresh else self.store.find(call)
        if artifact is None:
            self.steps.append(Step(name, "would run", 0.0, "", {}, self._why(asked)))
            return Absent()
        step = Step(name, "reused", 0.0, str(artifact.directory), artifact.stats)
        self.steps.append(step)
        return artifact

    def _why(self, asked: Invocation) -> str:
        """What differs from the last time that this recipe had the stage run."""
        call = asked.call
        if self.fresh:
            return "--fresh"
        if _is_absent(call.inputs):
            return "an earlier stage runs"
        try:
            made = read_manifest(self.store.root / self.last[asked.name])
        except (KeyError, OSError, ValueError):
            return "never run"
        if made["version"] != call.version:
            return "this version of Shoulders does it in another way"
        found = [_said(asked, *each) for each in _differences(made["inputs"], call.inputs)]
        return ", ".join(dict.fromkeys(found)) or "its result is gone"


def _is_absent(value: Any) -> bool:
    """Whether any of it would have to be made first."""
    if isinstance(value, list):
        return any(map(_is_absent, value))
    if not isinstance(value, dict):
        return False
    return value.get("digest") == Absent.digest or any(map(_is_absent, value.values()))


def _differences(
    old: Any, new: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(path, old, new) of what changed between two inputs' records."""
    plain = not (isinstance(old, dict) and isinstance(new, dict)) or "digest" in {*old, *new}
    if not plain:
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), (*path, key))
    elif _listed(old) != _listed(new):
        yield path, old, new


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _said(asked: Invocation, path: tuple[str, ...], old: Any, new: Any) -> str:
    """One difference, for a person: the flag and both values, or what of the inputs is another."""
    name, *rest = path
    words = name.replace("_", " ")
    if isinstance(old, dict) or isinstance(new, dict):
        if old is None or new is None:
            return f"{'with' if old is None else 'without'} a {words}"
        return f"another {words}" if words in ("giant", "pretrained") else f"{words} changed"
    flag = _flag(asked, name, rest)
    if not _is_key(flag):
        return f"{words} changed"
    return f"--{flag.replace('_', '-')}: {_value(old)} → {_value(new)}"


def _flag(asked: Invocation, name: str, rest: list[str]) -> str:
    """The key of the config that an argument's part comes from."""
    if name == "learning" and len(rest) > 1:
        return f"targets.{rest[1]}.weight" if rest[0] == "weights" else ".".join(rest[1:])
    if name == "views" and rest[0] == "options":
        sections = (row.section for row in MODALITIES.values() if rest[1] in row.view_options)
        return f"{next(sections, name)}.{rest[1]}"
    dotted = ".".join([name, *rest])
    if dotted in _KEYS:
        return _KEYS[dotted]
    given = inspect.signature(asked.stage).bind(None, *asked.args, **asked.kwargs).arguments
    section = _SECTIONS.get(type(given.get(name)), name)
    branch = asked.name.rpartition(".")[0]
    if section == "data" and branch:
        section = f"{branch}.data"
    return ".".join([section, *rest])


def _is_key(flag: str) -> bool:
    """Whether the config has it; a target's section has a name of its own."""
    at: Any = Config
    for part in flag.split("."):
        if not (isinstance(at, type) and issubclass(at, Section)):
            return flag.startswith("targets.")
        if part not in at.model_fields:
            return False
        at = at.model_fields[part].annotation
    return True


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    if value is None or value == "":
        return "not given"
    return str(value).lower() if isinstance(value, bool) else str(value)
