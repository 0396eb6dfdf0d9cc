"""The new head, and how it is trained: the section `head` of a config."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from components.training.phases import PhaseConfig, rate_or_auto


class HeadConfig(PhaseConfig):
    """The new head, and how it is trained."""

    features: Literal["last", "taps", "auto"] = "auto"
    """What it reads: `last`, the last layer, and is trained as the rest of this section says;
    `taps`, the pooled outputs of several blocks (arXiv:2201.03529), and is fitted exactly, in
    seconds; `auto`: fitted to what the examples speak for, but `last` where anything else of this
    section is not as it is by default."""
    kind: Literal["linear", "prototype", "auto", "untrained"] = "linear"
    """`prototype`: the mean of each class on normalized features (arXiv:1911.04623); it trains
    nothing, makes do with one example of each class, and classes can be added to it. `auto`:
    that, where it is better beyond noise than what is fitted exactly. `untrained`: as it begins, to
    see what that does to a giant that is fine-tuned with it."""
    begin: Literal["zeros", "random", "prototypes"] = "zeros"
    """What a head that is trained by epochs begins with: `random`, as Keras would; class means
    where it is linear."""
    epochs: int = Field(20, ge=1, le=10_000)
    """Most epochs to train."""
    learning_rate: float | Literal["auto"] = 1e-3
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine. `auto`
    finds one by a range test."""
    hidden: int = Field(0, ge=0, le=65_536)
    """Units of a hidden layer; 0 for none."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Rate of dropout before each dense layer."""
    search: int = Field(0, ge=0, le=10_000)
    """Trials of a search for better `hidden`, `dropout` and `weight_decay`; 0 for none."""
    soup: int = Field(0, ge=0, le=64)
    """A greedy soup (arXiv:2203.05482): so many heads more are trained, of other rates, decays and
    orders, and the weights of those averaged that lower the loss; of a head that is fitted exactly,
    the heads on other taps that were tried. It costs nothing where the model is served."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        return rate_or_auto("head", value)
