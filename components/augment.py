"""augment: label-preserving changes to training examples, the same for the same seed and view."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from components.job import Section
from models.mistakes import Mistake


class AugmentConfig(Section):
    """Augmented views of the training examples."""

    views: int | Literal["fresh"] = 1
    """Views of each training example, each computed once; or `fresh`: a new one every epoch."""
    policies: tuple[str, ...] = ()
    """What is done to the other views, in this order; the usual ones of the modality where not
    given."""
    rate: float = Field(0.1, gt=0, le=0.5)
    """Text: the share of an example's words that a policy changes."""
    translator: str = ""
    """Text: MODULE:FUNCTION of your own that translates a text there and back, for the policy
    `backtranslation`."""

    @field_validator("views")
    @classmethod
    def _in_range(cls, views: int | str) -> int | str:
        if isinstance(views, int) and not 1 <= views <= 64:
            raise Mistake(f"augment.views must be 1 to 64, or 'fresh', got {views}")
        return views
