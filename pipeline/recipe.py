"""Recipes and presets: TOML files, and what they and changes to them come to."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from components.section import PROGRAM, Section
from models.mistakes import Mistake, nearest
from pipeline.config import Config, PresetName, TargetConfig
from pipeline.moved import MOVED

RECIPES = Path(__file__).parent / "recipes"
PRESETS = Path(__file__).parent / "presets"


def recipes() -> list[str]:
    """The names of our own recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def recipe_path(recipe: str) -> Path:
    """The TOML file that `recipe` names: one of ours, or a path."""
    known = recipes()
    if recipe in known:
        return RECIPES / f"{recipe}.toml"
    path = Path(recipe).expanduser()
    if path.is_file() and path.suffix == ".toml":
        return path
    if path.exists():
        raise Mistake(
            f"RECIPE must come before the examples, got {recipe!r}, which is no TOML file: say "
            f"photos {recipe}, sentiment {recipe} …; known: {', '.join(known)}"
        )
    raise Mistake(
        f"RECIPE must be a recipe's name or a TOML file, got {recipe!r}: {nearest(recipe, known)}"
    )


def read_recipe(path: Path, preset: str = "none") -> dict[str, Any]:
    """The recipe's keys as they are written; a `Mistake` names one that is no key of ours.

    Args:
        preset: that is asked for beside the recipe, and says what it is about before the recipe
            does; one that a recipe names itself stands behind what else that says.
    """
    content = _read(path)
    own = content.get("preset", "none")
    if isinstance(own, str) and own != "none":
        content = over(_preset(own), content)
    return over(content, _preset(preset)) if preset != "none" else content


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{path.name} must be TOML, got {error}") from error
    _check_keys(content, Config, path.name, "", may_run=False)
    return content


def _preset(name: str) -> dict[str, Any]:
    known = [each for each in get_args(PresetName) if each != "none"]
    if name not in known:
        raise Mistake(f"preset must be one of ours, got {name!r}: {nearest(name, known)}")
    return _read(PRESETS / f"{name}.toml") | {"preset": name}


def merged(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's content with changes to it; see `nested`."""
    return over(content, nested(changes))


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes that are nested like a recipe, or under keys with dots, all nested."""
    found: dict[str, Any] = {}
    for key, value in changes.items():
        *sections, name = key.split(".")
        one: dict[str, Any] = {name: value}
        for section in reversed(sections):
            one = {section: one}
        found = over(found, one)
    _check_keys(found, Config, "changes", "")
    return found


def over(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What is nested, with changes to it that are."""
    found = dict(content)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = over(found[key], value) if both else value
    return found


def validate(content: dict[str, Any]) -> Config:
    """The config that `content` departs to; a `Mistake` tells the first thing wrong with it."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise mistake_of(error) from error


def mistake_of(error: ValidationError) -> Mistake:
    """The first finding of a validation as one line: the field, the rule and the value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if not _is_union_member(part))
    rule = re.sub(r"^Input should be", "must be", first["msg"])
    rule = re.sub(r"^must be a valid (number|integer), unable to parse.*$", r"must be a \1", rule)
    rule = rule.replace("a integer", "an integer").replace("'", "")
    for theirs, ours in _RULES.items():
        rule = rule.replace(theirs, ours)
    rule = re.sub(r"^could not parse .* byte string$", "must be a size such as 500MB", rule)
    meant = _MEANT.get(str(first["input"]).lower().replace("-", "_"), "")
    hint = f": did you mean {meant}?" if meant and meant in rule else ""
    return Mistake(f"{field} {rule}, got {first['input']!r}{hint}")


_RULES = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
}
# What other tools call a task.
_MEANT = {
    **dict.fromkeys(("classification", "classify", "binary", "multiclass"), "one_label"),
    **dict.fromkeys(("multilabel", "multi_label", "tagging"), "several_labels"),
    **dict.fromkeys(("regression", "regress", "scalar"), "number"),
}


def _is_union_member(part: int | str) -> bool:
    return part in ("int", "str", "float", "bool", "none")


def _check_keys(
    content: dict[str, Any],
    section: type[Section],
    where: str,
    prefix: str,
    *,
    may_run: bool = True,
) -> None:
    """A `Mistake` names a key that there is not; or one of code to be run, where none may be."""
    fields = section.model_fields
    for key, value in content.items():
        if new := MOVED.get(f"{prefix}{key}"):
            raise Mistake(f"{where}: {prefix}{key} is now {new}")
        if key not in fields:
            raise Mistake(
                f"{where} must have keys of the config, got {prefix}{key!r}: {nearest(key, fields)}"
            )
        if value and PROGRAM in fields[key].metadata and not may_run:
            raise Mistake(
                f"{where} must not have {prefix}{key}, got {value!r}: a recipe is data, and what "
                f"this names would be run; say --{prefix}{key} {value}"
            )
        kind = fields[key].annotation
        sections = {}
        if isinstance(kind, type) and issubclass(kind, Section):
            sections = {key: (kind, value)}
        elif kind == dict[str, TargetConfig]:
            if not isinstance(value, dict):
                raise Mistake(f"{where}: {prefix}{key} must be sections, got {value!r}")
            sections = {f"{key}.{name}": (TargetConfig, each) for name, each in value.items()}
        for name, (inner, given) in sections.items():
            if not isinstance(given, dict):
                raise Mistake(f"{where}: {prefix}{name} must be a section, got {given!r}")
            _check_keys(given, inner, where, f"{prefix}{name}.", may_run=may_run)
