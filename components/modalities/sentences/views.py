"""Augmented views of sentences: words are deleted, swapped, inserted or replaced.

The first four are those of EDA (Wei & Zou 2019, arXiv:1901.11196). A view's randomness is drawn
from (seed, example id, view) alone, so that it can be computed again tomorrow, on another machine
and in another order, and be the same.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable

import numpy as np
from etils import epy

from components.artifacts import AssembledModel
from components.modalities.sentences import giants, raw
from components.section import Views
from models.mistakes import Mistake

with epy.lazy_imports():
    from models import backbones, encoders

Words = list[str]
Policy = Callable[[Words, float, np.random.Generator], Words]
# How many of a word's nearest neighbours may take its place, and how near they must be.
NEIGHBOURS, NEAR = 5, 0.5


class Augmenter:
    """(text, id, view) → that view of the text; view 0 is the text itself."""

    def __init__(self, model: AssembledModel, views: Views, seed: int) -> None:
        self._names = views.policies
        self._rate, self._seed = float(views.options.get("rate", 0.1)), seed
        thesaurus = Thesaurus(model)
        self._policies: dict[str, Policy] = {
            "deletion": _delete,
            "swap": _swap,
            "insertion": functools.partial(_insert, thesaurus.neighbours),
            "synonym": functools.partial(_replace, thesaurus.neighbours),
            "wordnet": functools.partial(_replace, _in_wordnet),
            "backtranslation": functools.partial(
                _translate, str(views.options.get("translator", ""))
            ),
        }

    def __call__(self, raw: bytes, identity: str, view: int) -> bytes:
        if view == 0:
            return raw
        name = f"{self._seed}/{identity}/{view}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()[:8], "little"))
        words = raw.decode("utf-8").split()
        for policy in self._names:
            words = self._policies[policy](words, self._rate, rng)
        return " ".join(words).encode()


def _count(words: Words, rate: float, rng: np.random.Generator) -> int:
    """How many of the words to change: `rate` of them on average, so none of few words mostly."""
    return int(rng.binomial(len(words), rate))


def _delete(words: Words, rate: float, rng: np.random.Generator) -> Words:
    kept = [word for word, draw in zip(words, rng.random(len(words)), strict=True) if draw >= rate]
    return kept or words


def _swap(words: Words, rate: float, rng: np.random.Generator) -> Words:
    words = list(words)
    for _ in range(_count(words, rate / 2, rng)):  # Each swap changes two words.
        one, other = rng.integers(len(words), size=2)
        words[one], words[other] = words[other], words[one]
    return words


def _replace(
    alike: Callable[[str], Words], words: Words, rate: float, rng: np.random.Generator
) -> Words:
    words = list(words)
    for position in rng.permutation(len(words))[: _count(words, rate, rng)]:
        if others := alike(words[position]):
            words[position] = others[rng.integers(len(others))]
    return words


def _insert(
    alike: Callable[[str], Words], words: Words, rate: float, rng: np.random.Generator
) -> Words:
    """Something like one of the words, anywhere."""
    longer = list(words)
    for _ in range(_count(words, rate, rng)):
        if others := alike(words[rng.integers(len(words))]):
            longer.insert(int(rng.integers(len(longer) + 1)), others[rng.integers(len(others))])
    return longer


def _translate(translator: str, words: Words, rate: float, rng: np.random.Generator) -> Words:
    del rate, rng
    try:
        result = _translator(translator)(" ".join(words))
    except Mistake:
        raise
    except Exception as error:  # It is the user's own.
        raise Mistake(
            f"sentences.translator must translate texts, got {type(error).__name__} from "
            f"{translator}: {error}"
        ) from error
    if not isinstance(result, str) or not result.strip():
        raise Mistake(f"sentences.translator must give text, got {result!r} from {translator}")
    return result.split()


@functools.cache
def _translator(name: str) -> Callable[[str], str]:
    """The user's function MODULE:FUNCTION."""
    module, _, function = name.partition(":")
    try:
        found: Callable[[str], str] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise Mistake(
            f"sentences.translator must be MODULE:FUNCTION that can be imported, for the policy "
            f"backtranslation, got {name!r}: {error}"
        ) from error
    return found


@functools.lru_cache(maxsize=100_000)
def _in_wordnet(word: str) -> Words:
    """The word's synonyms in WordNet, sorted."""
    try:
        meanings = importlib.import_module("nltk.corpus").wordnet.synsets(word)
    except (ImportError, LookupError) as error:
        raise Mistake(
            "augment.policies must be what is installed, got 'wordnet' without NLTK and its "
            "corpus: pip install nltk, python -m nltk.downloader wordnet"
        ) from error
    names = {lemma.replace("_", " ") for meaning in meanings for lemma in meaning.lemma_names()}
    return sorted(names - {word})


class Thesaurus:
    """What is near a word in the giant's own token embeddings, by cosine."""

    def __init__(self, model: AssembledModel) -> None:
        self._model = model
        self._found: dict[str, Words] = {}

    def neighbours(self, word: str) -> Words:
        """At most `NEIGHBOURS` words that are one token, as the word must be."""
        key = word.casefold()
        if key not in self._found:
            self._found[key] = self._find(key)
        return self._found[key]

    def _find(self, word: str) -> Words:
        words, vectors, at = self._table
        if word not in at:
            return []
        near = vectors @ vectors[at[word]]
        best = np.argsort(-near, kind="stable")[1 : NEIGHBOURS + 1]
        return [words[i] for i in best if near[i] >= NEAR]

    @functools.cached_property
    def _table(self) -> tuple[Words, np.ndarray, dict[str, int]]:
        """The words, their vectors of length 1, and where each word is."""
        form = raw.Sentence(**self._model.form)
        tokenizer = encoders.open_tokenizer(form.family, self._model.directory / "preset")
        network = giants.build(self._model)
        backbones.load_weights(network, self._model.weights)
        embeddings = encoders.token_embeddings(network)
        words = encoders.whole_words(tokenizer)
        chosen = list(words.values())
        vectors = embeddings[chosen]
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        names = list(words)
        return names, vectors, {name: position for position, name in enumerate(names)}
