"""`--target NAME=TASK:COLUMN`, the short way to say `[targets.NAME]`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from models.mistakes import Mistake

_FLAG = "--target"
_FORM = re.compile(r"(?P<name>[^=:]+)=(?P<task>[^:]+):(?P<columns>.+)")


def expanded(arguments: list[str]) -> list[str]:
    """The arguments with each `--target` as the flags of its section."""
    return list(_expanded(arguments, set()))


def _expanded(arguments: list[str], names: set[str]) -> Iterator[str]:
    left = iter(arguments)
    for argument in left:
        flag, _, value = argument.partition("=")
        if flag != _FLAG:
            yield argument
            continue
        value = value or next(left, "")
        found = _FORM.fullmatch(value)
        if not found:
            raise Mistake(f"{_FLAG} must be NAME=TASK:COLUMN, got {value!r}")
        name = found["name"]
        if name in names:
            raise Mistake(f"{_FLAG} must name each target once, got {name!r} twice")
        names.add(name)
        yield from (f"--targets.{name}.task", found["task"])
        yield from (f"--targets.{name}.columns", found["columns"])
