"""Sentences: UTF-8 text in, and what a person sees of it."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from typing import Annotated, Any

from etils import epy
from pydantic import BaseModel, ConfigDict, Field

from components.modalities.statistics import spread
from components.section import NOT_HASHED, Program, Section

with epy.lazy_imports():
    import tensorflow_datasets as tfds

in_tfds = "text"
plural = "texts"
column = "text"
is_path = False
suffixes: tuple[str, ...] = (".txt", ".md")
may_repeat = True
slices: tuple[str, ...] = ("words",)
measures = "their length"

# What `views` can do; here, so that a config is checked without TensorFlow.
POLICIES = ("deletion", "swap", "insertion", "synonym", "wordnet", "backtranslation")
# Those that are meant where none are given.
USUAL = ("deletion", "swap")
# More than this is no sentence or page, but a file that came in by mistake.
MAX_CHARACTERS = 1_000_000


class SentencesConfig(Section):
    """Texts, and what becomes of them before a network reads them."""

    sequence_length: int | None = Field(None, ge=4, le=1_000_000)
    """Most tokens of an example, the special ones too; 128, or all positions that the model has
    where that is fewer, where not given."""
    rate: Annotated[float, NOT_HASHED] = Field(0.1, gt=0, le=0.5)
    """The share of an example's words that a policy of `augment` changes."""
    translator: Program = ""
    """MODULE:FUNCTION of your own that translates a text there and back, for the policy
    `backtranslation`; a flag, never in a recipe, which is data and names nothing to be run."""


class Sentence(BaseModel):
    """What becomes of a text before a network reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    """A row of `models.encoders.FAMILIES`."""
    sequence_length: int
    bag: bool = False
    """Read by a bag of tokens, and not by the network whose tokenizer it is."""


def feature() -> Any:
    return tfds.features.Text()


def of_tfds(feature: Any, value: bytes) -> bytes:
    """The very bytes."""
    del feature
    return value


def check(raw: bytes) -> dict[str, Any]:
    """Characters and words; ValueError with the reason if unusable."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: {error.reason} at byte {error.start}") from error
    if is_blank(text):
        raise ValueError("is empty")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    return {"characters": len(text), "words": len(text.split())}


def measured(facts: dict[str, Any]) -> list[float]:
    """Length in characters and words, and how long a word is."""
    characters, words = facts["characters"], max(1, facts["words"])
    return [math.log(characters), math.log(words), characters / words]


def converted(raw: bytes) -> bytes:
    """The very bytes: there is one form."""
    return raw


def is_blank(text: str) -> bool:
    """Whether there are only separators and control characters in it."""
    return all(unicodedata.category(c)[0] == "Z" or unicodedata.category(c) == "Cc" for c in text)


def canonical(raw: bytes) -> bytes:
    """The words alone: no case, no punctuation, one form of every character."""
    folded = unicodedata.normalize("NFKC", raw.decode("utf-8")).casefold()
    bare = "".join(" " if unicodedata.category(c)[0] in "PZC" else c for c in folded)
    words = bare.split()
    return " ".join(words).encode() if words else raw


def summary(facts: dict[str, Counter[int]]) -> dict[str, Any]:
    """Least, median and greatest length, of how often each occurs."""
    return {name: spread(facts[name]) for name in ("characters", "words") if name in facts}


def warnings(summary: dict[str, Any]) -> list[str]:
    """None so far."""
    del summary
    return []


def sample() -> bytes:
    return b"This is a sentence that somebody made up, neither good nor bad."
