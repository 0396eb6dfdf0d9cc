"""The one exception for what a person got wrong: a field, a rule, the value received."""

from collections.abc import Iterable
from difflib import get_close_matches


class Mistake(Exception):
    """A mistake in the command, the config or the data; told in one line, exit status 2.

    Anything else that is raised is a bug of ours and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


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
