"""Pretrained giants: which one is asked for, and where its weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from components.section import NOT_HASHED, Digested, Place, Section

Pooling = Literal["auto", "avg", "max", "mean", "cls", "both", "attention", "last"]


class ModelConfig(Section):
    """The pretrained giant."""

    backbone: Place = "MobileNetV2"
    """Pictures: a name of Keras Applications, or a KerasHub preset: its name, hf://…, kaggle://… or
    a folder, KerasHub's own or one of Hugging Face. Text: such a preset. Sounds: YAMNet, such a
    preset, or a name of Keras Applications."""
    weights: Place = "pretrained"
    """`pretrained`, the published ones (for pictures `imagenet`, too); a file of the backbone's
    weights; `none`; or `pretrain`."""
    warm_start: Annotated[Literal["none", "blessed"], NOT_HASHED] = "none"
    """`blessed`: go on from the last blessed model, backbone and head, once there is one."""
    finalists: Annotated[int, NOT_HASHED] = Field(1, ge=1, le=2)
    """With 2 of all giants at hand, and `backbone`, the two that advice names are trained, and that
    is taken which loses least on validation examples; see `advise`."""
    pooling: Pooling = "auto"
    """How the last features become one vector. Pictures and sounds: avg, max; of transformers cls
    (the first token), both (cls and avg), attention (their own layer) as well. Text: mean, cls,
    last (the last token). `auto` is what suits the giant."""


@dataclass(frozen=True)
class Giant(Digested):
    """A backbone without its weights, resolved before the flow.

    Attributes:
        name: for people.
        digest: over all that decides its architecture and its preprocessing.
        path: the folder of a preset; None where the backbone is a row of our own table.
        small: it is no giant, but a small network that is trained from scratch to be beaten.
    """

    name: str
    digest: str
    path: Path | None = None
    small: bool = False


@dataclass(frozen=True)
class Pretrained(Digested):
    """Weights from outside, resolved before the flow.

    Attributes:
        digest: of the files' bytes; of the word "none" where there is no file.
        description: where they come from, in words.
        path: a file of our own kind or Keras's; None for none, and where `published`.
        published: the giant's own, found by its name or in its folder.
    """

    digest: str
    description: str
    path: Path | None = None
    published: bool = False


NO_WEIGHTS = Pretrained(digest="none", description="random weights")
