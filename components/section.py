"""What a section of the config is, and the sections that several stages read."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, ClassVar, Literal

from cyclopts import Parameter
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

from models.mistakes import Mistake


class Section(BaseModel):
    """A section of the config: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shown_by_default: ClassVar[bool] = True
    """Whether `show` prints it where nothing in it differs from the defaults."""


class BeamConfig(Section):
    """Where the data stages run."""

    runner: str | None = None
    """A Beam runner's name, such as DataflowRunner; within this process where not given."""
    options: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True)] = ()
    """Beam's own options, such as --beam.options --temp_location=gs://…"""


class Digested:
    """What a stage is given from outside, or by another stage: a fingerprint has its digest alone.

    That is over all that decides what it is, and nothing of where it lies or when it was made.
    """

    digest: str


class _NotHashed:
    """Marks a config field that its stage's fingerprint leaves out.

    Either it only names something from outside, whose content is hashed, or another stage reads it.
    """


NOT_HASHED = _NotHashed()


class _Program:
    """Marks a config field that names code to be run: flags alone have it, for a recipe is data."""


PROGRAM = _Program()


class _Short:
    """Marks a config field that stands for others, which are told instead of it."""


SHORT = _Short()


def _home(value: Any) -> Any:
    return os.path.expanduser(value) if isinstance(value, str) else value


def _split(value: Any) -> Any:
    """The command line has a,b,c; a recipe may have a list."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return value
    return tuple(name.strip() for each in given for name in str(each).split(",") if name.strip())


def _homes(value: Any) -> Any:
    given = _split(value)
    return tuple(map(_home, given)) if isinstance(given, tuple) else given


# A path or a name of something from outside, whose content is hashed; `~` is the user's home.
Place = Annotated[str, BeforeValidator(lambda value: _home(value)), NOT_HASHED]
Places = Annotated[tuple[str, ...], BeforeValidator(lambda value: _homes(value)), NOT_HASHED]
Columns = Annotated[tuple[str, ...], BeforeValidator(_split)]
UnhashedBool = Annotated[bool, NOT_HASHED]
UnhashedStr = Annotated[str, NOT_HASHED]
Program = Annotated[str, NOT_HASHED, PROGRAM]


class AugmentConfig(Section):
    """Augmented views of the training examples."""

    views: int | Literal["fresh"] = 1
    """Views of each training example, each computed once; or `fresh`: a new one every epoch."""
    policies: Columns = ()
    """What is done to the other views, in this order; the usual ones of the modality where not
    given."""

    @field_validator("views")
    @classmethod
    def _in_range(cls, views: int | str) -> int | str:
        if isinstance(views, int) and not 1 <= views <= 64:
            raise Mistake(f"augment.views must be 1 to 64, or 'fresh', got {views}")
        return views


class Views(BaseModel):
    """All that decides augmented views but the seed: `AugmentConfig`, and the modality's own.

    Attributes:
        policies: never empty where there is more than one view.
        options: what else the policies read, of the modality's section of the config.
    """

    model_config = ConfigDict(frozen=True)

    views: int | Literal["fresh"] = 1
    policies: tuple[str, ...] = ()
    options: dict[str, Any] = {}


_UNITS = {"h": 3600, "m": 60, "s": 1}


def seconds_of(duration: str) -> int:
    """`1h30m` or `90min` → 5400; 0 where it is no duration."""
    if not re.fullmatch(r"(\d+h)?(\d+m(in)?)?(\d+s)?", duration):
        return 0
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([hms])", duration))


def duration(seconds: float) -> str:
    """For people: `9 s`, `4 min`, `1 h 10 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """For people: `512 B`, `1.2 MB`."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
