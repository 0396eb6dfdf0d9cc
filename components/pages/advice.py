"""The page of an advice: giants with their intervals, the finalists, and the rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.pages import charts
from components.pages.charts import Whisker
from components.pages.templates import environment

# What the page calls ways to answer.
WAYS = {
    "knn": "neighbours",
    "prototypes": "prototypes",
    "last": "last layer",
    "taps": "taps",
}


def page(told: Mapping[str, Any], folders: Sequence[Path]) -> str:
    """HTML that needs nothing but itself."""
    ways = [way for way in WAYS if any(way in each["scores"] for each in told["giants"])]
    return (
        environment(*folders)
        .get_template("advice.html.jinja")
        .render(told=told, ways={way: WAYS[way] for way in ways}, chart=_chart(told))
    )


def _chart(told: Mapping[str, Any]) -> str:
    """The errors of neighbours and linear heads, giant by giant."""
    rows = [
        Whisker(
            f"{giant['name'][-22:]}, {WAYS[way]}",
            score["error"],
            score["low"],
            score["high"],
            f"{score['error']:.3f}  ({score['low']:.3f} to {score['high']:.3f})",
        )
        for giant in told["giants"]
        for way, score in giant["scores"].items()
        if way in ("knn", "taps" if "taps" in giant["scores"] else "last")
    ]
    return charts.whiskers(rows, "error on examples that were left out")
