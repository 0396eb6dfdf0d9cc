"""Giants for text: KerasHub presets, by name, from a hub, or in a folder."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import AssembledModel
from components.files import files_below, read_json, sha256_of_each, sha256_of_json, write_json
from components.modalities import hub
from components.modalities.giants import Giant, ModelConfig, Pretrained
from components.modalities.sentences.raw import Sentence, SentencesConfig
from models import backbones, splitting
from models.encoders import FAMILIES, family_of
from models.taps import Pooled

with epy.lazy_imports():
    import keras

    from models import encoders

# The most tokens of a text where nothing else is asked for.
USUAL_LENGTH = 128

poolings: tuple[str, ...] = ("mean", "cls", "last")

others = (
    "all-MiniLM-L6-v2 was trained to tell what sentences mean; BERT and its like to fill gaps; "
    "others to tell feelings, topics or languages: look for one on the hubs."
)


def find(config: ModelConfig, own: SentencesConfig, *, download: bool) -> Giant:
    """The preset that is asked for."""
    del own
    return hub.find(config.backbone, FAMILIES, family_of, download=download)


def find_weights(
    config: ModelConfig, own: SentencesConfig, giant: Giant, *, download: bool
) -> Pretrained:
    """The preset's own."""
    del own, download  # `find` did.
    return hub.find_weights(config, giant)


def at_hand() -> list[str]:
    """Presets that were downloaded."""
    return hub.at_hand(FAMILIES, family_of)


def small(giant: Giant) -> Giant:
    """A bag of the giant's own tokens and of pairs of them."""
    digest = sha256_of_json(["a bag of its tokens", giant.digest])
    return replace(giant, name="a bag of words", digest=digest, small=True)


def begin(
    config: ModelConfig, own: SentencesConfig, giant: Giant, directory: Path, *, published: bool
) -> tuple[keras.Model, Sentence, str]:
    """The network, its form and its pooling; the architecture and the tokenizer go to `preset/`."""
    folder = giant.path
    if folder is None:
        raise ValueError(f"the preset must have been downloaded, got {giant}")
    family = family_of(hub.description(folder))
    backbone = encoders.open_preset(family, folder, weights=published)
    tokenizer = encoders.open_tokenizer(family, folder)
    encoders.check_tokenizer(tokenizer, backbone, folder)
    _settle_accents(tokenizer, folder)
    length = _length(own, backbone)
    form = Sentence(family=family, sequence_length=length, bag=giant.small)
    preset = directory / "preset"
    preset.mkdir()
    tokenizer.save_to_preset(str(preset))
    write_json(preset / "config.json", keras.saving.serialize_keras_object(backbone))
    if giant.small:
        return _bag(form, tokenizer), form, "mean"
    network, pooling = _built(config, own, backbone, family)
    return network, form, pooling


def _length(own: SentencesConfig, backbone: Any) -> int:
    positions = getattr(backbone, "max_sequence_length", None) or USUAL_LENGTH
    return own.sequence_length or min(USUAL_LENGTH, positions)


def _built(
    config: ModelConfig, own: SentencesConfig, backbone: Any, family: str
) -> tuple[keras.Model, str]:
    """The network around a preset's layers, and its pooling."""
    pooling: Any = FAMILIES[family].pooling if config.pooling == "auto" else config.pooling
    length = _length(own, backbone)
    network = encoders.build_encoder(backbone, family, pooling=pooling, sequence_length=length)
    return network, pooling


def load(giant: Giant, network: keras.Model, path: Path) -> None:
    """Read a file of weights, ours or Keras's."""
    del giant
    backbones.load_weights(network, path)


def build(model: AssembledModel) -> keras.Model:
    """The network of `model`, its weights still random."""
    form = Sentence(**model.form)
    if form.bag:
        return _bag(form, encoders.open_tokenizer(form.family, model.directory / "preset"))
    pooling: Any = model.pooling
    backbone = encoders.open_preset(form.family, model.directory / "preset", weights=False)
    return encoders.build_encoder(
        backbone, form.family, pooling=pooling, sequence_length=form.sequence_length
    )


def _bag(form: Sentence, tokenizer: Any) -> keras.Model:
    length = form.sequence_length if FAMILIES[form.family].even else None
    return encoders.build_bag(tokenizer.vocabulary_size(), length)


def block_names(config: ModelConfig, own: SentencesConfig, giant: Giant) -> list[str]:
    """The preset's transformer layers."""
    if giant.path is None:
        return []
    family = family_of(hub.description(giant.path))
    backbone = encoders.open_preset(family, giant.path, weights=False)
    network, _ = _built(config, own, backbone, family)
    return list(splitting.block_starts(network, FAMILIES[family].block))


def blocks(model: AssembledModel) -> tuple[str, bool]:
    """What `splitting.block_starts` needs to know of its layers' names."""
    form = Sentence(**model.form)
    return encoders.BAG if form.bag else FAMILIES[form.family].block, False


def pooled(model: AssembledModel, network: keras.Model) -> Pooled:
    """The mean of a block's output over the tokens; its first token where that stands for all."""
    return encoders.tapped(network, Sentence(**model.form).family)


def contract(model: AssembledModel) -> dict[str, Any]:
    """What a client may send, and what becomes of it."""
    form = Sentence(**model.form)
    files = [p for p in files_below(model.directory / "preset") if p.name != "config.json"]
    return {
        "modality": "text",
        "encoding": "UTF-8; what is not, or is blank, is not valid",
        "tokenizer": FAMILIES[form.family].tokenizer,
        "tokenizer_sha256": sha256_of_json(sha256_of_each(files)),
        "special_tokens": "its start and end tokens around the text",
        "most_tokens": form.sequence_length,
        "longer_texts": "are cut at the end",
    }


def load_ops() -> None:
    """Those of the tokenizers, which TensorFlow Serving has built in."""
    importlib.import_module("tensorflow_text")


def _settle_accents(tokenizer: Any, folder: Path) -> None:
    """Let a converted WordPiece tokenizer treat accents as its original does.

    Hugging Face's `strip_accents` is null in most, and then means "where it lowercases"; KerasHub
    reads nothing and never strips them, so that "café" would be an unknown word.
    """
    original = folder / "tokenizer_config.json"
    if original.is_file() and hasattr(tokenizer, "strip_accents"):
        asked = read_json(original).get("strip_accents")
        tokenizer.strip_accents = tokenizer.lowercase if asked is None else bool(asked)
