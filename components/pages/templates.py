"""The environment that pages are rendered in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from components.pages import charts
from components.section import size

with epy.lazy_imports():
    import jinja2


def environment(*folders: Path) -> jinja2.Environment:
    """For templates in these folders: HTML is escaped, and what is not given is an error."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined
    )
    found.filters |= {
        "percent": lambda value: f"{100 * value:.1f} %",
        "plain": _plain,
        "sentence": lambda text: text[:1].upper() + text[1:],
        "size": size,
    }
    found.globals |= {
        "heat_map": charts.heat_map,
        "reliability": charts.reliability,
        "worst_pairs": charts.worst_pairs,
        "ticks": charts.ticks,
    }
    return found


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
