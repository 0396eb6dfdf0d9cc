"""A config as TOML, every key with its meaning; and what of it is not as by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from components.section import NOT_HASHED, PROGRAM, SHORT, Section


def to_toml(config: Section) -> str:
    """The config as TOML, every key with its meaning."""
    document = tomlkit.document()
    _fill(document, config)
    return tomlkit.dumps(document).strip()


def departures(config: Section, prefix: str = "", *, hashed_only: bool = False) -> dict[str, Any]:
    """Each key whose value is not the default → the value.

    Args:
        hashed_only: leave out those that no fingerprint has, such as paths.
    """
    found: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if SHORT in field.metadata or (hashed_only and NOT_HASHED in field.metadata):
            continue
        if isinstance(value, Section):
            found |= departures(value, f"{prefix}{name}.", hashed_only=hashed_only)
        elif isinstance(value, dict):
            for key, each in value.items():
                inner = f"{prefix}{name}.{key}."
                own = departures(each, inner, hashed_only=hashed_only)
                # It is there, even where nothing in it departs.
                first = next(iter(type(each).model_fields))
                found |= own or {f"{inner}{first}": getattr(each, first)}
        elif value != field.get_default(call_default_factory=True):
            found[f"{prefix}{name}"] = value
    return found


def as_recipe(settings: Mapping[str, Any], comments: Sequence[str]) -> str:
    """A recipe, with what is to be said before it.

    Args:
        settings: keys with dots → values.
    """
    document = tomlkit.document()
    for comment in comments:
        document.add(tomlkit.comment(comment))
    document.add(tomlkit.nl())
    tables: dict[str, Any] = {}
    for key, value in sorted(settings.items(), key=lambda each: "." in each[0]):
        *sections, name = key.split(".")
        table: Any = document
        for depth, section in enumerate(sections):
            path = ".".join(sections[: depth + 1])
            if path not in tables:
                tables[path] = table[section] = tomlkit.table()
            table = tables[path]
        table[name] = list(value) if isinstance(value, tuple) else value
    return tomlkit.dumps(document)


def _fill(table: Any, config: Section) -> None:
    sections: dict[str, Section] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        meaning = " ".join((field.description or "").split())
        if isinstance(value, Section):
            if value.shown_by_default or value != field.default:
                sections[name] = value
        elif isinstance(value, dict):
            if value:
                inner = tomlkit.table(is_super_table=True)
                for key, each in value.items():
                    inner[key] = tomlkit.table()
                    _fill(inner[key], each)
                table[name] = inner
        elif value is None or PROGRAM in field.metadata:
            table.add(tomlkit.comment(f"{name} = {value or ''}  # {meaning}"))
        else:
            item = tomlkit.item(list(value) if isinstance(value, tuple) else value)
            table.add(name, item.comment(meaning) if meaning else item)
    for name, value in sections.items():
        inner = tomlkit.table()
        _fill(inner, value)
        table[name] = inner
