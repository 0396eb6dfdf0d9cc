"""`--help`: what matters first; `--help all`, or `--help SECTION`, for the rest."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import docstring_parser
from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel
from rich.text import Text

from models.mistakes import Mistake, nearest
from pipeline.config import Config
from pipeline.flags import CONFIGURED

# What most runs need; everything else is a word away.
FIRST = (
    *("--recipe", "--path", "--preset", "--task", "--seed"),
    *("--model.backbone", "--model.weights"),
    *("--augment.views", "--head.epochs", "--head.learning-rate"),
    *("--fine-tune.unfreeze", "--fine-tune.epochs", "--fine-tune.learning-rate"),
    *("--control.enabled", "--bless.at-least"),
)
_OF_THE_COMMAND = "The command"


class Usage:
    """Formats the help of a command, in groups.

    Attributes:
        wanted: `all`, a section, or nothing for what matters first.
    """

    def __init__(self) -> None:
        self.wanted = ""
        self._form = DefaultFormatter()
        # cyclopts reads the source of a section, and of pydantic's own class, for every flag anew.
        docstring_parser.parse_from_object = functools.cache(docstring_parser.parse_from_object)

    def asked(self, arguments: list[str]) -> list[str]:
        """The arguments without what stands behind `--help`, which is kept."""
        self.wanted = ""
        at = next((i for i, word in enumerate(arguments) if word in ("--help", "-h")), None)
        if at is None or at + 1 >= len(arguments) or arguments[0] not in CONFIGURED:
            return arguments
        if arguments[at + 1].startswith("--") and "." in arguments[at + 1]:
            return arguments  # A flag, which help has no use for.
        word = arguments[at + 1].strip("-").replace("-", "_")
        known = ["all", *Config.model_fields]
        if word not in known:
            raise Mistake(
                f"--help must be of all or of a section, got {word!r}: {nearest(word, known)}"
            )
        self.wanted = word
        return [*arguments[: at + 1], *arguments[at + 2 :]]

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """One panel of cyclopts, as several."""
        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):  # Docstrings end their lines where we do.
                entry.description.primary_renderable = Text(" ".join(text.plain.split()))
        groups: dict[str, list[HelpEntry]] = {}
        for entry in panel.entries:
            groups.setdefault(self._group(entry), []).append(entry)
        if len(groups) < 3:  # A command without the flags of the config.
            self._form(console, options, panel)
            return
        chosen = {
            title: entries for title, entries in groups.items() if self.wanted in ("all", title)
        }
        if not self.wanted:
            by_name = {_name(entry): entry for entry in panel.entries}
            first = [by_name[name] for name in FIRST if name in by_name]
            own = [entry for entry in groups[_OF_THE_COMMAND] if entry not in first]
            chosen = {"What matters first": first, "Where and how": own}
        for title, entries in chosen.items():
            part = attrs.evolve(panel, title=title.replace("_", "-"), entries=entries)
            self._form(console, options, part)
        if not self.wanted:
            sections = ", ".join(title.replace("_", "-") for title in groups if title.islower())
            console.print(
                f"\nMore: --help all, or --help SECTION: {sections}.\n"
                f"The command `show RECIPE` prints every key with its value and its meaning.",
                highlight=False,
                markup=False,
            )

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Paragraphs, however long the lines of the docstring are."""
        text = getattr(description, "primary_renderable", None)
        for paragraph in filter(None, str(text or "").split("\n\n")):
            console.print(" ".join(paragraph.split()), "\n", highlight=False, markup=False)

    def _group(self, entry: HelpEntry) -> str:
        name = _name(entry)
        if "." in name:
            return name[2:].partition(".")[0].replace("-", "_")
        return "config" if name[2:] in Config.model_fields else _OF_THE_COMMAND


def _name(entry: HelpEntry) -> str:
    return next(iter(entry.positive_names), "")
