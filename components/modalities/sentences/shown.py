"""Sentences as a person sees them, with the words that counted."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import AssembledModel
from components.modalities.sentences.raw import Sentence, is_blank

with epy.lazy_imports():
    from models import encoders

legend = (
    "Without a red word the answer given is less probable, without a blue one more; point at a "
    "word to see by how much."
)
explained = 12
_RED, _BLUE = "220 38 38", "37 99 235"
# So many words of a mistake are looked at.
_EXPLAINED = 60


def show(raw: bytes, ask: Callable[[list[bytes]], np.ndarray] | None) -> str:
    """The text, with the words marked that drove the answer.

    By occlusion (Zeiler & Fergus 2014, arXiv:1311.2901): how much less probable the answer is
    without the word. Red words spoke for it, blue ones against it.
    """
    words = raw.decode("utf-8", "replace").split()
    if ask is None:
        return f'<blockquote class="text">{html.escape(" ".join(words))}</blockquote>'
    looked_at = words[:_EXPLAINED]
    without = [" ".join(words[:i] + words[i + 1 :]).encode() for i in range(len(looked_at))]
    speaks_for = ask([raw, *without])
    counted = speaks_for[0] - speaks_for[1:]
    counted[[is_blank(text.decode("utf-8", "replace")) for text in without]] = 0.0
    most = max(float(np.abs(counted).max(initial=0.0)), 1e-6)
    marked = [
        f'<span title="{weight:+.3f}" style="background: rgb({_RED if weight > 0 else _BLUE} / '
        f'{0.6 * abs(weight) / most:.2f})">{html.escape(word)}</span>'
        for word, weight in zip(looked_at, counted.tolist(), strict=True)
    ]
    rest = f" … and {len(words) - _EXPLAINED} more words" if len(words) > _EXPLAINED else ""
    return f'<blockquote class="text">{" ".join(marked)}{rest}</blockquote>'


def read(model: AssembledModel, inputs: Sequence[np.ndarray]) -> tuple[bytes, str]:
    """The tokens, a space between each: text."""
    tokenizer = _tokenizer(Sentence(**model.form).family, model.directory / "preset")
    token_ids, mask = inputs
    pieces = [str(tokenizer.id_to_token(int(token))) for token in token_ids[mask > 0]]
    return " ".join(pieces).encode(), "text/plain; charset=utf-8"


@functools.lru_cache(maxsize=2)
def _tokenizer(family: str, folder: Path) -> Any:
    return encoders.open_tokenizer(family, folder)
