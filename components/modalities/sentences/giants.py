"""Giants for text: KerasHub presets, by name, from a hub, or in a folder."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import AssembledModel
from components.files import files_below, read_json, sha256_of_each, sha256_of_json, write_json
from components.modalities.giants import Giant, ModelConfig, Pretrained
from components.modalities.sentences.raw import Sentence, SentencesConfig
from models import splitting
from models.encoders import FAMILIES, family_of
from models.mistakes import Mistake, nearest
from models.quiet import import_tensorflow
from models.taps import Pooled

with epy.lazy_imports():
    import huggingface_hub
    import kagglehub
    import keras
    import keras_hub

    from models import encoders

# The most tokens of a text where nothing else is asked for.
USUAL_LENGTH = 128
_DESCRIPTIONS = (".json", ".txt", ".spm", ".model")
_WEIGHTS = (".safetensors", ".weights.h5")
_NOT_THERE = "to be downloaded"
# Names of folders with a preset that do not tell which one it is.
_SAY_NOTHING = ("model", "models", "preset", "snapshots", "weights", "/")
_COMMIT = re.compile(r"[0-9a-f]{40}|\d+")

poolings: tuple[str, ...] = ("mean", "cls", "last")


def find(config: ModelConfig, own: SentencesConfig, *, download: bool) -> Giant:
    """The preset that is asked for, its folder, and a digest of what is no weights in it."""
    del own
    folder = _folder(config.backbone, download)
    if folder is None:
        return Giant(config.backbone, _NOT_THERE)
    description = _description(folder)
    try:
        family = family_of(description)
    except KeyError as error:
        theirs = "model_type" in description and "class_name" not in description
        names = [name for name, row in FAMILIES.items() if row.model_type or not theirs]
        form = "in Hugging Face's form" if theirs else "in KerasHub's form"
        raise Mistake(
            f"model.backbone must be of one of the families {', '.join(names)} where it is {form}, "
            f"got {config.backbone!r}, which is {error.args[0]}"
        ) from error
    name = config.backbone
    if Path(name).is_dir():
        name = f"{_title(folder)} ({family})"
    files = [path for path in files_below(folder) if path.suffix in _DESCRIPTIONS]
    named = [path.relative_to(folder).as_posix() for path in files]
    return Giant(name, sha256_of_json([named, sha256_of_each(files)]), folder)


def find_weights(
    config: ModelConfig, own: SentencesConfig, giant: Giant, *, download: bool
) -> Pretrained:
    """The preset's own weights."""
    del own, download  # `find` did.
    if config.weights == "imagenet":
        raise Mistake("model.weights must be pretrained, none, pretrain or a file, got 'imagenet'")
    if giant.path is None:
        return Pretrained(_NOT_THERE, f"weights of {giant.name}", published=True)
    files = [path for path in files_below(giant.path) if path.name.endswith(_WEIGHTS)]
    if not files:
        raise Mistake(
            f"model.backbone must hold weights as {' or '.join(_WEIGHTS)}, got {str(giant.path)!r} "
            f"without: say --model.weights none if this is meant"
        )
    return Pretrained(sha256_of_json(sha256_of_each(files)), "the preset's weights", published=True)


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
    family = family_of(_description(folder))
    backbone = encoders.open_preset(family, folder, weights=published)
    tokenizer = encoders.open_tokenizer(family, folder)
    encoders.check_tokenizer(tokenizer, backbone, folder)
    _settle_accents(tokenizer, folder)
    positions = getattr(backbone, "max_sequence_length", None) or USUAL_LENGTH
    length = own.sequence_length or min(USUAL_LENGTH, positions)
    form = Sentence(family=family, sequence_length=length, bag=giant.small)
    preset = directory / "preset"
    preset.mkdir()
    tokenizer.save_to_preset(str(preset))
    write_json(preset / "config.json", keras.saving.serialize_keras_object(backbone))
    if giant.small:
        return _bag(form, tokenizer), form, "mean"
    pooling: Any = FAMILIES[family].pooling if config.pooling == "auto" else config.pooling
    network = encoders.build_encoder(backbone, family, pooling=pooling, sequence_length=length)
    return network, form, pooling


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
    del config, own
    if giant.path is None:
        return []
    family = family_of(_description(giant.path))
    backbone = encoders.open_preset(family, giant.path, weights=False)
    network = encoders.build_encoder(
        backbone, family, pooling=FAMILIES[family].pooling, sequence_length=8
    )
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


def _folder(name: str, download: bool) -> Path | None:
    """Where the preset called `name` is; None where it would have to be downloaded first."""
    if Path(name).is_dir():
        return Path(name)
    try:
        if name.startswith("hf://"):
            return _from_hugging_face(name, download)
        handle = (name if name.startswith("kaggle://") else _handle(name))[len("kaggle://") :]
        parsed = kagglehub.handle.parse_model_handle(handle)
        if parsed.is_versioned() and (path := kagglehub.cache.Cache().load_from_cache(parsed)):
            return Path(path)
        return Path(kagglehub.model_download(handle)) if download else None
    except Mistake:
        raise
    except Exception as error:  # The hubs' own errors, and those of the network.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise Mistake(
            f"model.backbone must be a preset within reach, got {name!r} ({reason}): download it "
            f"where there is a network, and name its folder with --model.backbone"
        ) from error


def _from_hugging_face(name: str, download: bool) -> Path | None:
    wanted = [f"*{suffix}" for suffix in (*_DESCRIPTIONS, *_WEIGHTS)]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name.removeprefix("hf://"),
                allow_patterns=wanted,
                ignore_patterns=["onnx/*", "openvino/*"],
                local_files_only=not download,
            )
        )
    except huggingface_hub.errors.LocalEntryNotFoundError:
        if download:
            raise
        return None


def _handle(name: str) -> str:
    """The Kaggle handle of one of KerasHub's own presets."""
    import_tensorflow()
    presets = keras_hub.models.Backbone.presets
    if name not in presets:
        raise Mistake(
            f"model.backbone must be the name of a KerasHub preset, hf://…, kaggle://… or a "
            f"folder, got {name!r}: {nearest(name, presets)}"
        )
    handle: str = presets[name]["kaggle_handle"]
    return handle


def _title(folder: Path) -> str:
    """The folder's name, or that of the nearest one above it that says something."""
    named = [part for part in folder.resolve().parts if part.lower() not in _SAY_NOTHING]
    return next((part for part in reversed(named) if not _COMMIT.fullmatch(part)), folder.name)


def _description(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / "config.json")
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Mistake(
            f"model.backbone must be a preset's folder, with a config.json in it, got "
            f"{str(folder)!r}"
        ) from error
    return found if isinstance(found, dict) else {}


def _settle_accents(tokenizer: Any, folder: Path) -> None:
    """Let a converted WordPiece tokenizer treat accents as its original does.

    Hugging Face's `strip_accents` is null in most, and then means "where it lowercases"; KerasHub
    reads nothing and never strips them, so that "café" would be an unknown word.
    """
    original = folder / "tokenizer_config.json"
    if original.is_file() and hasattr(tokenizer, "strip_accents"):
        asked = read_json(original).get("strip_accents")
        tokenizer.strip_accents = tokenizer.lowercase if asked is None else bool(asked)
