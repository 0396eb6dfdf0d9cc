"""Giants for pictures that are presets of KerasHub: vision transformers and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import AssembledModel
from components.files import read_json, write_json
from components.modalities import hub
from components.modalities.giants import Giant, ModelConfig
from components.modalities.photos.raw import PhotosConfig, Picture
from models.image_encoders import FAMILIES, family_of
from models.mistakes import Mistake
from models.taps import Pooled

with epy.lazy_imports():
    import keras
    import keras_hub

    from models import image_encoders, splitting

_USUAL_SIZE = 224
_OF_KERAS_HUB, _OF_HUGGING_FACE = "image_converter.json", "preprocessor_config.json"


@dataclass(frozen=True)
class Scaling:
    """How a giant wants its pictures.

    Attributes:
        scale: what each channel, in 0 … 255, is multiplied with, …
        offset: … and what is added then.
        size: height and width in pixels; None where it does not say.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    size: int | None


def find(backbone: str, *, others: tuple[str, ...], download: bool) -> Giant:
    """The preset that is asked for; `others` are names that it might have meant."""
    return hub.find(backbone, FAMILIES, family_of, others=others, download=download)


def begin(
    config: ModelConfig, own: PhotosConfig, giant: Giant, directory: Path, *, published: bool
) -> tuple[keras.Model, Picture, str]:
    """The network, its form and its pooling; the architecture goes to `preset/`."""
    folder = _there(giant)
    described = hub.description(folder)
    family = family_of(described)
    scaling = _scaling(folder)
    backbone = image_encoders.open_preset(
        family, described, folder, weights=published, input_size=own.input_size or scaling.size
    )
    usual = image_encoders.usual_size(backbone) or scaling.size or _USUAL_SIZE
    form = Picture(
        input_size=own.input_size or usual,
        resize=own.resize,
        family=family,
        scale=scaling.scale,
        offset=scaling.offset,
    )
    pooling = FAMILIES[family].poolings[0] if config.pooling == "auto" else config.pooling
    (directory / "preset").mkdir()
    write_json(_config(directory), keras.saving.serialize_keras_object(backbone))
    return _built(backbone, form, pooling), form, pooling


def build(model: AssembledModel) -> keras.Model:
    """The network of `model`, its weights still random."""
    form = Picture(**model.form)
    config = read_json(_config(model.directory))
    backbone = image_encoders.open_preset(
        form.family,
        config,
        model.directory / "preset",
        weights=False,
        input_size=form.input_size,
    )
    return _built(backbone, form, model.pooling)


def _built(backbone: Any, form: Picture, pooling: Any) -> keras.Model:
    return image_encoders.build_encoder(
        backbone,
        form.family,
        pooling=pooling,
        input_size=form.input_size,
        scale=form.scale,
        offset=form.offset,
    )


def block_names(config: ModelConfig, own: PhotosConfig, giant: Giant) -> list[str]:
    """The preset's blocks; none where it is not there yet."""
    if giant.path is None:
        return []
    described = hub.description(giant.path)
    family = family_of(described)
    backbone = image_encoders.open_preset(
        family, described, giant.path, weights=False, input_size=own.input_size
    )
    size = own.input_size or image_encoders.usual_size(backbone) or _USUAL_SIZE
    pooling: Any = FAMILIES[family].poolings[0] if config.pooling == "auto" else config.pooling
    form = Picture(
        input_size=size, resize=own.resize, family=family, scale=(1.0,) * 3, offset=(0.0,) * 3
    )
    return list(splitting.block_starts(_built(backbone, form, pooling), FAMILIES[family].block))


def pooled(model: AssembledModel) -> Pooled:
    """The mean over the patches of a block's output, and the class token where there is one."""
    config = read_json(_config(model.directory))["config"]
    return image_encoders.tapped(Picture(**model.form).family, config)


def _config(directory: Path) -> Path:
    return directory / "preset" / "config.json"


def _there(giant: Giant) -> Path:
    if giant.path is None:
        raise ValueError(f"the preset must have been downloaded, got {giant}")
    return giant.path


def _scaling(folder: Path) -> Scaling:
    """What the preset says; guessed, it would be the commonest cause of poor transfer."""
    if (folder / _OF_KERAS_HUB).is_file():
        converter = keras_hub.layers.ImageConverter.from_preset(str(folder))
        size = converter.image_size
        return Scaling(
            _channels(converter.scale, 1.0), _channels(converter.offset, 0.0), size and size[0]
        )
    if (folder / _OF_HUGGING_FACE).is_file():
        return _of_hugging_face(read_json(folder / _OF_HUGGING_FACE))
    raise Mistake(
        f"model.backbone must say how it wants its pictures scaled, in {_OF_KERAS_HUB} or "
        f"{_OF_HUGGING_FACE}, got {str(folder)!r} without"
    )


def _of_hugging_face(said: dict[str, Any]) -> Scaling:
    """Of an image processor: pixels times a factor, less the mean, over the deviation."""
    factor = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    mean, deviation = (0.0,) * 3, (1.0,) * 3
    if said.get("do_normalize", True):
        mean = _channels(said.get("image_mean"), 0.5)
        deviation = _channels(said.get("image_std"), 0.5)
    size = said.get("crop_size") or said.get("size")
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    both = list(zip(mean, deviation, strict=True))
    return Scaling(
        _channels([factor / wide for _, wide in both], 1.0),
        _channels([-middle / wide for middle, wide in both], 0.0),
        size,
    )


def _channels(value: float | Sequence[float] | None, other: float) -> tuple[float, float, float]:
    if value is None:
        value = other
    red, green, blue = [float(value)] * 3 if isinstance(value, (int, float)) else map(float, value)
    return red, green, blue
