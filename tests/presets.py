"""Tiny presets of every family of encoders, random, as folders that KerasHub wrote."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_hub
import sentencepiece

from models.encoders import FAMILIES

GOOD = ("good", "great", "lovely", "fine", "superb")
BAD = ("bad", "awful", "dull", "poor", "boring")
OTHER = ("the", "film", "was", "plot", "and", "actors", "music", "a", "quite", "rather")
WORDS = (*GOOD, *BAD, *OTHER)
POSITIONS = 24
_SIZES: dict[str, Any] = {
    "num_layers": 3,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": POSITIONS,
}


def write_preset(family: str, folder: Path, seed: int = 0) -> Path:
    """A preset of three layers with random weights and a tokenizer that knows `WORDS`."""
    keras.utils.set_random_seed(seed)
    row = FAMILIES[family]
    tokenizer = _TOKENIZERS[family](getattr(keras_hub.models, row.tokenizer))
    backbone = getattr(keras_hub.models, row.backbone)(**_arguments(family, tokenizer))
    for weight in backbone.weights:  # At their usual 0.02 the outputs are almost constant.
        if len(weight.shape) > 1:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3))
    folder.mkdir(parents=True)
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder


def sentences(label: int, count: int, offset: int = 0) -> Iterator[str]:
    """Texts of several lengths with two words in each that tell the label; 90 different ones."""
    telling = GOOD if label else BAD
    for number in range(offset, offset + count):
        words = ["the", OTHER[1 + number % 9], "was", telling[number % 5]]
        words += ["and", telling[number // 5 % 5]]
        words += [OTHER[(number * 7 + i) % 10] for i in range(number % 6)]
        yield " ".join(words)


def write_table(path: Path, per_class: int) -> Path:
    """A JSONL file of `sentences`."""
    rows = [
        {"text": text, "label": ("bad", "good")[label]}
        for label in (0, 1)
        for text in sentences(label, per_class)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _arguments(family: str, tokenizer: Any) -> dict[str, Any]:
    sizes = dict(_SIZES)
    size = {"vocabulary_size": tokenizer.vocabulary_size()}
    if family == "ALBERT":
        size |= {"embedding_dim": 8, "num_groups": 3}
    if family == "ELECTRA":
        size = {"vocab_size": tokenizer.vocabulary_size(), "embedding_dim": 16}
    if family == "DeBERTa-v3":
        size |= {"bucket_size": 4}
    if family == "F-Net":
        del sizes["num_heads"]
    if family == "Gemma":
        heads = sizes.pop("num_heads")
        del sizes["max_sequence_length"]
        size |= {"num_query_heads": heads, "num_key_value_heads": 1, "head_dim": 8}
    return sizes | size


def _word_piece(kind: Any) -> Any:
    characters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*characters, *(f"##{c}" for c in characters)]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return kind(vocabulary=[*names, *dict.fromkeys([*WORDS, *pieces])], lowercase=True)


def _byte_pairs(*names: str) -> Callable[[Any], Any]:
    def make(kind: Any) -> Any:
        from keras_hub.src.tokenizers.byte_pair_tokenizer import bytes_to_unicode

        merges, tokens = [], [*names, *bytes_to_unicode()[1]]
        for word in WORDS:
            piece = "Ġ"
            for letter in word:
                merges.append(f"{piece} {letter}")
                piece += letter
                tokens.append(piece)
        unique = list(dict.fromkeys(tokens))
        vocabulary = {token: number for number, token in enumerate(unique)}
        return kind(vocabulary=vocabulary, merges=list(dict.fromkeys(merges)))

    return make


def _sentence_piece(**arguments: Any) -> Callable[[Any], Any]:
    def make(kind: Any) -> Any:
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*sentences(0, 40), *sentences(1, 40)]),
            model_writer=model,
            vocab_size=64,
            hard_vocab_limit=False,
            minloglevel=2,
            **arguments,
        )
        return kind(proto=model.getvalue())

    return make


_ALBERT = {
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "pad_piece": "<pad>",
    "unk_piece": "<unk>",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
    "user_defined_symbols": "[MASK]",
}
_TOKENIZERS: dict[str, Callable[[Any], Any]] = {
    "BERT": _word_piece,
    "DistilBERT": _word_piece,
    "ELECTRA": _word_piece,
    "RoBERTa": _byte_pairs("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "GPT-2": _byte_pairs("<|endoftext|>"),
    "XLM-RoBERTa": _sentence_piece(bos_id=1, eos_id=2, unk_id=0),
    "ALBERT": _sentence_piece(**_ALBERT),
    "F-Net": _sentence_piece(**_ALBERT),
    "DeBERTa-v3": _sentence_piece(**_ALBERT | {"pad_piece": "[PAD]", "unk_piece": "[UNK]"}),
    "Gemma": _sentence_piece(
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        bos_piece="<bos>",
        eos_piece="<eos>",
        pad_piece="<pad>",
    ),
}
