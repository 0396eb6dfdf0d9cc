"""Image encoders: a table of KerasHub's families, and a flat network from pixels to one vector.

A new family is a new row. Nothing else in the program knows one by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from etils import epy

from models import presets
from models.mistakes import Mistake
from models.taps import Pooled, mean_of_map

with epy.lazy_imports():
    import keras

    from models import unrolled

Pooling = Literal["avg", "max", "cls", "both", "attention"]

_OF_MAPS: tuple[Pooling, ...] = ("avg", "max")
_OF_TOKENS: tuple[Pooling, ...] = ("cls", "avg", "max", "both")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of the table.

    Attributes:
        backbone: a class of `keras_hub.models`, whose preset it is.
        model_type: what Hugging Face's `config.json` calls it, where KerasHub converts it.
        tower: the attribute with its image encoder, where the backbone has another one beside, …
        tower_class: … and that one's class.
        block: a regular expression whose match in a layer's name says which block it belongs to.
        hidden: a layer that hides others, as the end of its name, …
        hides: … and the attributes with those, in the order of their use.
        aside: how many of its tokens are no patches (the class token first); of the backbone's
            config.
        poolings: the ways to make one vector of its output; the first is the usual one.
        attention: the layer that pools by attention, as the end of its name, where there is one.
        misshapen: a layer that is wrong about the shape of its output, as the end of its name.
        any_size: it reads pictures of any size, and not only of that in its config.
    """

    backbone: str
    model_type: str = ""
    tower: str = ""
    tower_class: str = ""
    block: str
    hidden: str = ""
    hides: tuple[str, ...] = ()
    aside: Callable[[Mapping[str, Any]], int] = lambda config: 0
    poolings: tuple[Pooling, ...] = _OF_TOKENS
    attention: str = ""
    misshapen: str = ""
    any_size: bool = False


_BLOCK = r"transformer_block_\d+"
_TOWER_BLOCK = r"\w*?(encoder_block_\d+)"

FAMILIES: dict[str, Family] = {
    "ViT": Family(
        backbone="ViTBackbone",
        model_type="vit",
        block=_BLOCK,
        hidden="vit_encoder",
        hides=("dropout", "encoder_layers", "layer_norm"),
        aside=lambda config: int(config.get("use_class_token", True)),
    ),
    "DeiT": Family(
        backbone="DeiTBackbone",
        model_type="deit",
        block=_BLOCK,
        hidden="deit_encoder",
        hides=("encoder_layers", "layer_norm"),
        # Of the class, and of the teacher's class.
        aside=lambda config: 2,
    ),
    "DINOv2": Family(
        backbone="DINOV2Backbone",
        model_type="dinov2",
        block=r"layers_\d+",
        hidden="_encoder",
        hides=("layers",),
        aside=lambda config: 1 + int(config.get("num_register_tokens", 0)),
        # As its own linear classifiers do (arXiv:2304.07193, B.3).
        poolings=("both", "cls", "avg", "max"),
        any_size=True,
    ),
    "CLIP": Family(
        backbone="CLIPBackbone",
        tower="vision_encoder",
        tower_class="CLIPVisionEncoder",
        block=_TOWER_BLOCK,
        aside=lambda config: 1,
    ),
    "SigLIP": Family(
        backbone="SigLIPBackbone",
        tower="vision_encoder",
        tower_class="SigLIPVisionEncoder",
        block=_TOWER_BLOCK,
        poolings=("attention", "avg", "max"),
        attention="_head",
        misshapen="_embedding",
    ),
    "ResNet": Family(
        backbone="ResNetBackbone",
        block=r"(stack\d+_block\d+)",
        poolings=_OF_MAPS,
        any_size=True,
    ),
    "EfficientNet": Family(
        backbone="EfficientNetBackbone",
        block=r"(block\d+[a-z]|top)",
        poolings=_OF_MAPS,
        any_size=True,
    ),
}


def family_of(config: Mapping[str, Any]) -> str:
    """Which family a `config.json`, of KerasHub or Hugging Face, is of; KeyError for none."""
    for name, family in FAMILIES.items():
        if family.tower_class and config.get("class_name") == family.tower_class:
            return name
    return presets.family_of(config, FAMILIES)


def open_preset(
    family: str,
    config: Mapping[str, Any],
    folder: Path,
    *,
    weights: bool,
    input_size: int | None = None,
) -> Any:
    """The image encoder in `folder`, in float32, with its weights or random ones.

    Args:
        config: what the folder's `config.json` says.
        input_size: of pictures, in pixels, where it can be another than in the config.
    """
    row = FAMILIES[family]
    alone = row.tower and config.get("class_name") == row.tower_class
    kind = row.tower_class if alone else row.backbone
    backbone = presets.open_backbone(kind, folder, weights=weights)
    if row.any_size and input_size and usual_size(backbone) not in (None, input_size):
        # Again: what it has for each patch is interpolated when weights are read.
        shape = (input_size, input_size, 3)
        backbone = presets.open_backbone(kind, folder, weights=weights, image_shape=shape)
    return getattr(backbone, row.tower) if row.tower and not alone else backbone


def usual_size(backbone: Any) -> int | None:
    """Height and width in pixels that it was built for; None for any."""
    height, width, _ = getattr(backbone, "image_shape", (None, None, 3))
    return height if height == width else None


def build_encoder(
    backbone: Any,
    family: str,
    *,
    pooling: Pooling,
    input_size: int,
    scale: Sequence[float],
    offset: Sequence[float],
) -> keras.Model:
    """A flat functional model around the layers of an image encoder, all of them frozen.

    Args:
        backbone: what `open_preset` gives.
        pooling: how its output becomes one vector: of patches the mean or the maximum; the class
            token; that and the mean, side by side; or its own layer that pools by attention.
        input_size: height and width in pixels.
        scale: what each channel is multiplied with, and `offset` what is added then.

    Returns:
        A model from float32 RGB images in 0 … 255, (batch, size, size, 3), to (batch, features).
    """
    row = FAMILIES[family]
    _check(backbone, row, family, pooling, input_size)
    image = keras.Input((input_size, input_size, 3), name="image")
    scaled = keras.layers.Rescaling(list(scale), list(offset), name="scaling")(image)
    struct = backbone._inputs_struct
    given = {"images": scaled} if isinstance(struct, dict) else scaled
    output = unrolled.through(backbone, given, _calls(backbone, row, pooling))
    output = keras.tree.flatten(output)[0]
    if len(output.shape) > 2:
        output = _POOLS[pooling](output, row.aside(backbone.get_config()))
    network = keras.Model(image, output, name="image_encoder")
    network.trainable = False
    return network


def _check(backbone: Any, row: Family, family: str, pooling: str, input_size: int) -> None:
    usual = usual_size(backbone)
    if pooling not in row.poolings or (
        pooling in ("cls", "both") and not row.aside(backbone.get_config())
    ):
        raise Mistake(
            f"model.pooling must be one of auto, {', '.join(row.poolings)} for {family}, got "
            f"{pooling!r}"
        )
    if usual not in (None, input_size):
        raise Mistake(
            f"photos.input_size must be {usual} for this {family}, which has a place in its "
            f"weights for each patch of such a picture, got {input_size}"
        )
    patch = getattr(backbone, "patch_size", 1)
    if input_size % (patch if isinstance(patch, int) else patch[0]):
        raise Mistake(
            f"photos.input_size must be a multiple of the {patch} pixels of a patch, got "
            f"{input_size}"
        )


def _calls(backbone: Any, row: Family, pooling: Pooling) -> dict[str, Callable[..., Any]]:
    """What is called in place of layers that hide others, or are not wanted."""
    calls: dict[str, Callable[..., Any]] = {}
    for layer in backbone.layers:
        if row.hidden and layer.name.endswith(row.hidden):
            calls[layer.name] = unrolled.one_by_one(layer, row.hides)
        if row.attention and layer.name.endswith(row.attention) and pooling != "attention":
            calls[layer.name] = lambda hidden: hidden
        if row.misshapen and layer.name.endswith(row.misshapen):
            calls[layer.name] = unrolled.Traced(layer)
    return calls


_POOLS: dict[Pooling, Callable[[Any, int], Any]] = {
    "avg": lambda output, aside: keras.ops.mean(_places(output, aside), axis=1),
    "max": lambda output, aside: keras.ops.max(_places(output, aside), axis=1),
    "cls": lambda output, aside: output[:, 0],
    "both": lambda output, aside: keras.ops.concatenate(
        [output[:, 0], keras.ops.mean(output[:, aside:], axis=1)], axis=-1
    ),
}


def _places(output: Any, aside: int) -> Any:
    """(batch, places, features) of a map, or of the tokens that are patches."""
    if len(output.shape) == 4:
        return keras.layers.Reshape((-1, output.shape[-1]), name="places")(output)
    return output[:, aside:]


def tapped(family: str, config: Mapping[str, Any]) -> Pooled:
    """What is made of a block's output, (batch, tokens, features); see `taps.Pooled`.

    Args:
        config: of the backbone.
    """
    row = FAMILIES[family]
    if row.poolings == _OF_MAPS:
        return mean_of_map
    aside = row.aside(config)

    def pooled(hidden: Any, name: str) -> dict[str, Any]:
        del name
        first = {"first": hidden[:, 0]} if aside else {}
        return {**first, "": keras.ops.mean(hidden[:, aside:], axis=1)}

    return pooled
