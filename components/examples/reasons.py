"""Why what was found is not used: each reason, which is for people, has a code, for programs."""

from __future__ import annotations

import re

# The code → how its reasons begin, after "INPUT …".
CODES = {
    "empty": r"is empty",
    "not_readable": r"cannot be read|is not there|the model cannot read it",
    "not_regular": r"is no regular file",
    "broken_link": r"is a link to nothing",
    "link_loop": r"is a link to a folder that (it is in|another link)",
    "outside": r"is (a link out of|outside) ",
    "not_an_image": r"is not an image",
    "not_a_sound": r"is (not a|too short to be a) WAV file",
    "other_format": r"is an? \w+ image|is a file of kind|is neither PCM nor float|must have ",
    "damaged": r"is damaged|is cut off|has no samples|has samples that are no numbers|lasts less",
    "too_large": r"has too many|has \d+ × \d+ pixels|has [\d,]+ characters",
    "not_utf8": r"is not UTF-8",
    "not_json": r"line \d+ is no JSON",
    "no_answer": r"row \d+ has no answer|there is no ",
    "bad_answer": r"row \d+ has ",
    "repeated": r"is in \w+, and says the same",
    "dropped": r"was left out by data\.patch",
}


def code_of(reason: str) -> str:
    """The code of a reason; `other` where it has none of its own."""
    return next((code for code, begins in CODES.items() if re.match(begins, reason)), "other")
