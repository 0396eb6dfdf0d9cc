"""The one exception for what a person got wrong: a field, a rule, the value received."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class Mistake(Exception):
    """A mistake in the command, the config or the data; told in one line, exit status 2.

    Anything else that is raised is a bug of ours and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


def printable(text: str) -> str:
    """A text as one line that does nothing to a terminal: what cannot be seen is escaped.

    Names of files, labels and texts are data: a line break in them forges a line, and an escape
    sequence moves the cursor.
    """
    return UNSEEN.sub(lambda found: _escaped(found[0]), text)


# Control characters, other ends of lines, what turns the direction of writing, half characters.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _escaped(character: str) -> str:
    """A byte that is no UTF-8, which Python has as half of a character, as that byte."""
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


# More names than these are not read.
_MOST = 12


def nearest(name: str, known: Iterable[str]) -> str:
    """A half sentence with the known names closest to `name`, to end an error with."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(by_lower[match] for match in close) + "?"
    names = list(by_lower.values())
    more = f" … ({len(names)} in all)" if len(names) > _MOST else ""
    return "known: " + ", ".join(names[:_MOST]) + more
