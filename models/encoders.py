"""Text encoders: a table of KerasHub's families, and a flat network from tokens to one vector.

A new family is a new row. Nothing else in the program knows one by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from etils import epy

from models import presets
from models.mistakes import Mistake
from models.taps import Pooled

with epy.lazy_imports():
    import keras
    import keras_hub

Pooling = Literal["mean", "cls", "last"]


# A bag of tokens: what its layers' names begin with, how many buckets pairs of tokens share, and
# how many numbers stand for each.
BAG, _PAIRS, _WIDTH = "bag", 50_000, 16


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of the table.

    Attributes:
        backbone: a class of `keras_hub.models`; its tokenizer is the one called `NAMETokenizer`
            for `NAMEBackbone`.
        model_type: what Hugging Face's `config.json` calls it, where KerasHub converts it.
        block: a regular expression whose match in a layer's name says which block it belongs to.
        pooling: what suits it: an encoder's mean, or a decoder's last token, the only one that
            has seen all others.
        class_token: the first token of every text was trained to stand for all of it.
        even: it has no mask, and reads padding as it reads words: every text is made as long as
            the longest allowed.
        beside: an argument that every block takes → the layer that gives it. The layer has weights
            but reads no example, so it is computed again beside each block, and never stored.
    """

    backbone: str
    model_type: str = ""
    block: str = r"transformer_layer_\d+"
    pooling: Pooling = "mean"
    class_token: bool = True
    even: bool = False
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokenizer(self) -> str:
        return self.backbone.replace("Backbone", "Tokenizer")


FAMILIES: dict[str, Family] = {
    "BERT": Family(backbone="BertBackbone", model_type="bert"),
    "RoBERTa": Family(backbone="RobertaBackbone", model_type="roberta"),
    "XLM-RoBERTa": Family(backbone="XLMRobertaBackbone", model_type="xlm-roberta"),
    "DistilBERT": Family(backbone="DistilBertBackbone", model_type="distilbert"),
    # A group's layers are one layer with one set of weights, called again and again.
    "ALBERT": Family(
        backbone="AlbertBackbone", model_type="albert", block=r"(group_\d+)_inner_layer_\d+"
    ),
    "DeBERTa-v3": Family(
        backbone="DebertaV3Backbone",
        block=r"disentangled_attention_encoder_layer_\d+",
        beside={"rel_embeddings": "rel_embedding"},
    ),
    "ELECTRA": Family(backbone="ElectraBackbone"),
    "F-Net": Family(backbone="FNetBackbone", block=r"f_net_layer_\d+", even=True),
    "GPT-2": Family(backbone="GPT2Backbone", model_type="gpt2", pooling="last", class_token=False),
    "Gemma": Family(
        backbone="GemmaBackbone",
        model_type="gemma",
        block=r"decoder_block_\d+",
        pooling="last",
        class_token=False,
    ),
}


def family_of(config: Mapping[str, Any]) -> str:
    """Which family a `config.json`, of KerasHub or Hugging Face, is of; KeyError for none."""
    return presets.family_of(config, FAMILIES)


def open_preset(family: str, folder: Path, *, weights: bool) -> Any:
    """The KerasHub backbone in `folder`, in float32, with its weights or random ones."""
    return presets.open_backbone(FAMILIES[family].backbone, folder, weights=weights)


def open_tokenizer(family: str, folder: Path) -> Any:
    """The KerasHub tokenizer in `folder`."""
    kind = getattr(keras_hub.models, FAMILIES[family].tokenizer)
    try:
        return kind.from_preset(str(folder), name="tokenizer")
    except Exception as error:
        raise presets.unreadable(folder, f"a tokenizer of {family}", error) from error


def check_tokenizer(tokenizer: Any, backbone: Any, folder: Path) -> None:
    """A `Mistake` where the tokenizer cannot be the one that the weights were trained with.

    A few embeddings more than tokens are usual, so that their number is a round one.
    """
    known = tokenizer.vocabulary_size()
    embedded = len(token_embeddings(backbone))
    if not 0.9 * embedded <= known <= embedded:
        raise Mistake(
            f"model.backbone must have a tokenizer that belongs to its weights, got "
            f"{str(folder)!r} with {known} tokens and {embedded} embeddings"
        )


def build_encoder(
    backbone: Any, family: str, *, pooling: Pooling, sequence_length: int
) -> keras.Model:
    """A flat functional model around the layers of a KerasHub backbone, all of them frozen.

    Args:
        backbone: of `family`.
        pooling: how the hidden states of the tokens become one vector.
        sequence_length: most tokens of a text.

    Returns:
        A model from `token_ids` and `padding_mask`, both int32 (batch, tokens) with 1 in the mask
        where there is a token and padding on the right, to (batch, features).
    """
    row = FAMILIES[family]
    positions = getattr(backbone, "max_sequence_length", None)
    if positions is not None and sequence_length > positions:
        raise Mistake(
            f"sentences.sequence_length must be at most the {positions} positions that the model "
            f"has, got {sequence_length}"
        )
    tokens = sequence_length if row.even else None
    token_ids = keras.Input((tokens,), dtype="int32", name="token_ids")
    mask = keras.Input((tokens,), dtype="int32", name="padding_mask")
    given = {"token_ids": token_ids, "padding_mask": mask}
    if "segment_ids" in backbone.input:  # Of one sentence they are all 0.
        given["segment_ids"] = keras.ops.zeros_like(token_ids)
    outputs = backbone._run_through_graph(
        {name: given[name] for name in backbone._inputs_struct}, _caller(backbone, row)
    )
    hidden = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    network = keras.Model(
        [token_ids, mask], _pool(hidden, mask, pooling), name=backbone.name.split("/")[-1]
    )
    network.trainable = False
    return network


def build_bag(tokens: int, length: int | None) -> keras.Model:
    """A bag of tokens and of pairs of neighbours: the mean of an embedding of each.

    After Joulin et al. 2016 (arXiv:1607.01759), fastText, whose pairs share buckets, too.

    Args:
        tokens: how many the tokenizer knows.
        length: of every text in tokens; None where they differ.

    Returns:
        A model with the inputs of `build_encoder`, to (batch, features); not pretrained.
    """
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    mask = keras.Input((length,), dtype="int32", name="padding_mask")
    # Products stay below 2 ** 31.
    mixed = (token_ids[:, :-1] % 65536) * 32749 + token_ids[:, 1:] % 65536
    pairs = mixed % _PAIRS + tokens
    both = keras.ops.concatenate([token_ids, pairs], axis=1)
    there = keras.ops.concatenate([mask, mask[:, :-1] * mask[:, 1:]], axis=1)
    embedded = keras.layers.Embedding(tokens + _PAIRS, _WIDTH, name=f"{BAG}_embedding")(both)
    pooled = keras.layers.GlobalAveragePooling1D(name=f"{BAG}_pooling")(embedded, mask=there)
    network = keras.Model([token_ids, mask], pooled, name=BAG)
    network.trainable = False
    return network


def _caller(backbone: Any, row: Family) -> Any:
    """How to call an operation of the backbone's graph, so that the graph stays flat."""
    layers = {argument: backbone.get_layer(name) for argument, name in row.beside.items()}

    def caller(operation: Any) -> Any:
        if operation in layers.values():
            return lambda hidden: hidden  # Nobody reads it; see below.
        if layers and re.match(row.block, operation.name):
            return lambda hidden, **given: operation(
                hidden, **given | {name: layer(hidden) for name, layer in layers.items()}
            )
        return operation

    return caller


def _pool(hidden: Any, mask: Any, pooling: Pooling) -> Any:
    """(batch, tokens, features) and (batch, tokens) → (batch, features)."""
    if pooling == "mean":
        return keras.layers.GlobalAveragePooling1D(name="pooling")(hidden, mask=mask)
    if pooling == "cls":
        return hidden[:, 0]
    last = keras.ops.sum(mask, axis=1, keepdims=True) - 1
    taken = keras.ops.take_along_axis(hidden, last[:, :, None], axis=1)
    return taken[:, 0]


def tapped(network: keras.Model, family: str) -> Pooled:
    """What is made of a block's output, (batch, tokens, features); see `taps.Pooled`."""
    _, mask = network.inputs

    def pooled(hidden: Any, name: str) -> dict[str, Any]:
        mean = keras.layers.GlobalAveragePooling1D(name=name)(hidden, mask=mask)
        first = {"first": hidden[:, 0]} if FAMILIES[family].class_token else {}
        return {**first, "": mean}

    return pooled


def token_embeddings(network: Any) -> np.ndarray:
    """(tokens, features): the embeddings of a backbone's or an encoder's vocabulary."""
    [found] = [w for w in network.weights if w.path.endswith("token_embedding/embeddings")]
    return np.asarray(keras.ops.convert_to_numpy(found))


# What a token begins with that begins a word: SentencePiece's, byte-pair encoding's, or nothing.
_WORD_BEGINS = ("▁", "Ġ")


def whole_words(tokenizer: Any) -> dict[str, int]:
    """The words in lower case, of letters alone, that are one token → its number."""
    tokens = tokenizer.get_vocabulary()
    marked = any(str(token).startswith(_WORD_BEGINS) for token in tokens)
    found: dict[str, int] = {}
    for token in tokens:
        text = str(token)
        word = text[1:] if marked and text.startswith(_WORD_BEGINS) else "" if marked else text
        if len(word) > 2 and word.isalpha() and word.islower():
            found.setdefault(word, tokenizer.token_to_id(token))
    return found
