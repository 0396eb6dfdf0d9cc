"""Giants for pictures: the table of Keras Applications, and presets of KerasHub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import AssembledModel
from components.files import sha256_of_json
from components.modalities import hub, published
from components.modalities.giants import Giant, ModelConfig, Pretrained
from components.modalities.photos import presets, raw
from components.modalities.photos.raw import PhotosConfig, Picture
from components.modalities.published import of_applications
from models import backbones, splitting
from models.image_encoders import FAMILIES, family_of
from models.mistakes import Mistake
from models.taps import Pooled, mean_of_map

with epy.lazy_imports():
    import keras

# Of the table.
_POOLINGS = ("avg", "max")
poolings: tuple[str, ...] = ("avg", "max", "cls", "both", "attention")

others = (
    "DINOv2 was trained without labels, and so for no task of its own; CLIP and SigLIP on pictures "
    "and what is written about them."
)


def find(config: ModelConfig, own: PhotosConfig, *, download: bool) -> Giant:
    """The row of the table that is asked for, or the preset."""
    del own
    name = backbones.backbone_name(config.backbone)
    if name in backbones.BACKBONES:
        if config.pooling not in ("auto", *_POOLINGS):
            raise Mistake(
                f"model.pooling must be one of auto, {', '.join(_POOLINGS)} for {name}, got "
                f"{config.pooling!r}"
            )
        return Giant(name, sha256_of_json(["keras.applications", name]))
    return presets.find(config.backbone, others=tuple(backbones.BACKBONES), download=download)


def find_weights(
    config: ModelConfig, own: PhotosConfig, giant: Giant, *, download: bool
) -> Pretrained:
    """Those of Keras, or the preset's own."""
    if giant.name not in backbones.BACKBONES:
        return hub.find_weights(config, giant)
    return of_applications(giant.name, config.weights, own.input_size, download=download)


def at_hand() -> list[str]:
    """Those of the table, and presets that were downloaded."""
    return [*published.at_hand(), *hub.at_hand(FAMILIES, family_of)]


def small(giant: Giant) -> Giant:
    """Five blocks, 100,000 weights, that see the whole of a picture of 64 pixels."""
    del giant
    name = "SmallConvNet"
    return Giant(name, sha256_of_json(["keras.applications", name]), small=True)


def begin(
    config: ModelConfig, own: PhotosConfig, giant: Giant, directory: Path, *, published: bool
) -> tuple[keras.Model, Picture, str]:
    """The network, its form and its pooling, with published weights or random ones."""
    if giant.path:
        return presets.begin(config, own, giant, directory, published=published)
    usual = backbones.find_backbone(giant.name).input_size
    size = own.input_size or usual
    if giant.small:
        size = min(size, usual)
    # The small one has no tokens, whatever the giant has.
    pooling: Any = config.pooling if config.pooling in _POOLINGS else "avg"
    network = backbones.build_backbone(
        giant.name, input_size=size, pooling=pooling, weights="imagenet" if published else None
    )
    return network, Picture(input_size=size, resize=own.resize), pooling


def load(giant: Giant, network: keras.Model, path: Path) -> None:
    """Read a file of weights, ours or Keras's."""
    del giant
    backbones.load_weights(network, path)


def build(model: AssembledModel) -> keras.Model:
    """The network of `model`, its weights still random."""
    form = Picture(**model.form)
    if form.family:
        return presets.build(model)
    pooling: Any = model.pooling
    return backbones.build_backbone(model.backbone, input_size=form.input_size, pooling=pooling)


def block_names(config: ModelConfig, own: PhotosConfig, giant: Giant) -> list[str]:
    """The blocks of the row of the table, or of the preset."""
    if giant.name not in backbones.BACKBONES:
        return presets.block_names(config, own, giant)
    row = backbones.find_backbone(giant.name)
    pooling: Any = "avg" if config.pooling == "auto" else config.pooling
    network = backbones.build_backbone(giant.name, input_size=own.input_size, pooling=pooling)
    return list(splitting.block_starts(network, row.block, ends=row.block_ends))


def blocks(model: AssembledModel) -> tuple[str, bool]:
    """What `splitting.block_starts` needs to know of its layers' names."""
    if family := Picture(**model.form).family:
        return FAMILIES[family].block, False
    row = backbones.find_backbone(model.backbone)
    return row.block, row.block_ends


def pooled(model: AssembledModel, network: keras.Model) -> Pooled:
    """The mean of a block's output over the pixels."""
    del network
    return presets.pooled(model) if Picture(**model.form).family else mean_of_map


def contract(model: AssembledModel) -> dict[str, Any]:
    """What a client may send, and what becomes of it."""
    form = Picture(**model.form)
    return {
        "modality": "image",
        "formats": list(raw.FORMATS),
        "max_pixels": raw.MAX_PIXELS,
        "decoder": "TensorFlow, JPEG with dct_method=INTEGER_ACCURATE",
        "exif_orientation": "applied to JPEG",
        "channels": "RGB",
        "resize": f"{form.resize}, bilinear, antialiased",
        "size": [form.input_size, form.input_size],
        "range": [0, 255],
        "scaling": "inside the model",
    }


def load_ops() -> None:
    """TensorFlow has them all."""
