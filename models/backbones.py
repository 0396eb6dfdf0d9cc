"""The giants: one table from a name to its constructor, preprocessing, input size and blocks.

A new backbone is a new row. Nothing else in the program knows a backbone by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from etils import epy

from models.mistakes import Mistake, nearest

with epy.lazy_imports():
    import keras

    from models import convnet


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One row of the table.

    Attributes:
        family: the paper's family; the unit in which tests sample the table.
        constructor: a name in `keras.applications`, or in `models.convnet`.
        preprocessing: the module of `keras.applications` whose `preprocess_input` the weights
            were trained with; empty where the network rescales its own input.
        input_size: the default height and width, in pixels.
        smallest: the least height and width that the network accepts, in pixels.
        block: a regular expression whose match in a layer's name says which block the layer
            belongs to; a group, where there is one, is the block's name.
        block_ends: the expression matches a block's last layer only (the layers before it have
            automatic names), instead of all its named layers.
        weights_file: the ImageNet weights' file name in `$KERAS_HOME/models`; `{size}` in it is
            the input size, or 224 where that is not one of `weights_sizes`.
        arguments: further arguments of the constructor.
    """

    family: str
    constructor: str
    preprocessing: str = ""
    input_size: int = 224
    smallest: int = 32
    block: str
    block_ends: bool = False
    weights_file: str = ""
    weights_sizes: tuple[int, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _family(sizes: Mapping[str, tuple[int, str]], **shared: Any) -> dict[str, Backbone]:
    """Rows that differ in constructor, input size and the spelling within the file name."""
    pattern = shared.pop("weights_file")
    return {
        name: Backbone(
            constructor=name, input_size=size, weights_file=pattern.format(spelling), **shared
        )
        for name, (size, spelling) in sizes.items()
    }


def _widths(name: str, alphas: Mapping[str, str], **shared: Any) -> dict[str, Backbone]:
    """Rows `NAME` (alpha 1) and `NAME-ALPHA`, with the file name's spelling of each alpha."""
    pattern = shared.pop("weights_file")
    return {
        name if alpha == "1.0" else f"{name}-{alpha}": Backbone(
            constructor=name,
            weights_file=pattern.format(spelling, size="{size}"),
            arguments={"alpha": float(alpha)},
            **shared,
        )
        for alpha, spelling in alphas.items()
    }


_TF = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"

BACKBONES: dict[str, Backbone] = {
    "ConvNet": Backbone(
        family="ConvNet",
        constructor="small_convnet",
        input_size=32,
        smallest=8,
        block=r"block\d+",
    ),
    # The one to be beaten: what a few hundred pictures can teach.
    "SmallConvNet": Backbone(
        family="ConvNet",
        constructor="small_convnet",
        input_size=64,
        smallest=8,
        block=r"block\d+",
        arguments={"filters": (16, 32, 64, 64, 64)},
    ),
    **_family(
        {"VGG16": (224, "vgg16"), "VGG19": (224, "vgg19")},
        family="VGG",
        weights_file=_TF,
        preprocessing="vgg16",
        block=r"block\d+",
    ),
    **_family(
        {f"ResNet{n}": (224, f"resnet{n}") for n in (50, 101, 152)},
        family="ResNet",
        weights_file=_TF,
        preprocessing="resnet",
        block=r"conv\d+_block\d+",
    ),
    **_family(
        {f"ResNet{n}V2": (224, f"resnet{n}v2") for n in (50, 101, 152)},
        family="ResNetV2",
        weights_file=_TF,
        preprocessing="resnet_v2",
        block=r"conv\d+_block\d+",
    ),
    "InceptionV3": Backbone(
        family="Inception",
        constructor="InceptionV3",
        preprocessing="inception_v3",
        input_size=299,
        smallest=75,
        block=r"mixed\d+$",
        block_ends=True,
        weights_file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "InceptionResNetV2": Backbone(
        family="InceptionResNet",
        constructor="InceptionResNetV2",
        preprocessing="inception_resnet_v2",
        input_size=299,
        smallest=75,
        block=r"(mixed_\d[ab]$|block\d+_\d+(?=_ac$)|conv_7b(?=_ac$))",
        block_ends=True,
        weights_file="inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "Xception": Backbone(
        family="Xception",
        constructor="Xception",
        preprocessing="xception",
        input_size=299,
        smallest=71,
        block=r"block\d+",
        weights_file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    **_family(
        {f"DenseNet{n}": (224, f"densenet{n}") for n in (121, 169, 201)},
        family="DenseNet",
        weights_file=_TF,
        preprocessing="densenet",
        block=r"conv\d+_block\d+|pool[2-4]",
    ),
    **_widths(
        "MobileNet",
        {"1.0": "1_0", "0.75": "7_5", "0.5": "5_0", "0.25": "2_5"},
        family="MobileNet",
        weights_file="mobilenet_{}_{size}_tf_no_top.h5",
        weights_sizes=(128, 160, 192, 224),
        preprocessing="mobilenet",
        block=r"conv_(?:dw|pw)_\d+",
    ),
    **_widths(
        "MobileNetV2",
        {a: a for a in ("1.0", "0.35", "0.5", "0.75", "1.3", "1.4")},
        family="MobileNetV2",
        weights_file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_{size}_no_top.h5",
        weights_sizes=(96, 128, 160, 192, 224),
        preprocessing="mobilenet_v2",
        block=r"expanded_conv|block_\d+|Conv_1",
    ),
    "MobileNetV3Small": Backbone(
        family="MobileNetV3",
        constructor="MobileNetV3Small",
        block=r"expanded_conv(?:_\d+)?|conv_1",
        weights_file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "MobileNetV3Large": Backbone(
        family="MobileNetV3",
        constructor="MobileNetV3Large",
        block=r"expanded_conv(?:_\d+)?|conv_1",
        weights_file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    **_family(
        {"NASNetMobile": (224, "nasnet_mobile"), "NASNetLarge": (331, "nasnet_large")},
        family="NASNet",
        weights_file="{}_no_top.h5",
        preprocessing="nasnet",
        block=r"(?:normal|reduction)_concat_\w+$",
        block_ends=True,
    ),
    **_family(
        {
            f"EfficientNetB{i}": (size, f"efficientnetb{i}")
            for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
        },
        family="EfficientNet",
        weights_file="{}_notop.h5",
        block=r"block\d+[a-z]|top",
    ),
    **_family(
        {
            "EfficientNetV2B0": (224, "efficientnetv2-b0"),
            "EfficientNetV2B1": (240, "efficientnetv2-b1"),
            "EfficientNetV2B2": (260, "efficientnetv2-b2"),
            "EfficientNetV2B3": (300, "efficientnetv2-b3"),
            "EfficientNetV2S": (384, "efficientnetv2-s"),
            "EfficientNetV2M": (480, "efficientnetv2-m"),
            "EfficientNetV2L": (480, "efficientnetv2-l"),
        },
        family="EfficientNetV2",
        weights_file="{}_notop.h5",
        block=r"block\d+[a-z]|top",
    ),
    **_family(
        {
            f"ConvNeXt{size}": (224, f"convnext_{size.lower()}")
            for size in ("Tiny", "Small", "Base", "Large", "XLarge")
        },
        family="ConvNeXt",
        weights_file="{}_notop.h5",
        block=r"\w+?_(stage_\d+_block_\d+|downsampling_block_\d+)",
    ),
}


def backbone_name(name: str) -> str:
    """The name in the table that is meant by one in another spelling, such as resnet-50."""
    found = [known for known in BACKBONES if _letters(known) == _letters(name)]
    return found[0] if len(found) == 1 else name


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_backbone(name: str) -> Backbone:
    """The row called `name`; a `Mistake` with the nearest names where there is none."""
    if name not in BACKBONES:
        raise Mistake(
            f"model.backbone must be a name in the table of backbones, got {name!r}: "
            f"{nearest(name, BACKBONES)}"
        )
    return BACKBONES[name]


def weights_file(name: str, input_size: int | None = None) -> str:
    """What Keras calls the ImageNet weights of backbone `name`; empty where there are none."""
    row = find_backbone(name)
    size = input_size or row.input_size
    return row.weights_file.format(size=size if size in row.weights_sizes else 224)


def build_backbone(
    name: str,
    *,
    input_size: int | None = None,
    pooling: Literal["avg", "max"] = "avg",
    weights: str | None = None,
    picture: Any = None,
) -> keras.Model:
    """The headless network `name`, with the preprocessing its weights were trained with inside.

    Args:
        name: a key of `BACKBONES`.
        input_size: height and width in pixels; the row's own where None.
        pooling: how the last feature map becomes one vector.
        weights: `"imagenet"` for the published weights, which Keras downloads or finds in
            `$KERAS_HOME/models`; a file of them; None for random ones.
        picture: a Keras tensor to be read instead of an input of `input_size`, such as of a
            spectrogram: (batch, height, width, 3) in 0 … 255.

    Returns:
        A flat functional model from float32 RGB images in 0 … 255, (batch, size, size, 3), to
        pooled features, (batch, channels). Every layer is frozen.
    """
    row = find_backbone(name)
    size = input_size or row.input_size
    shape = (size, size, 3) if picture is None else tuple(picture.shape[1:])
    if min(shape[:2]) < row.smallest:
        what = "photos.input_size" if picture is None else "the height and width of a spectrogram"
        raise Mistake(f"{what} must be at least {row.smallest} for {name}, got {min(shape[:2])}")
    constructor = getattr(keras.applications, row.constructor, None) or getattr(
        convnet, row.constructor
    )
    arguments = dict(row.arguments)
    if row.preprocessing:
        # As the input tensor, not around the network: the graph stays flat and can be cut.
        preprocess = getattr(keras.applications, row.preprocessing).preprocess_input
        image = keras.Input(shape, name="image") if picture is None else picture
        arguments["input_tensor"] = preprocess(image)
    elif picture is not None:
        arguments["input_tensor"] = picture
    try:
        network = constructor(include_top=False, weights=weights, input_shape=shape, **arguments)
    except Exception as error:
        if weights is None:
            raise
        # Whatever the network, or a damaged file, makes Keras raise.
        reason = str(error).strip().splitlines()[-1][:200]
        raise Mistake(
            f"model.weights must be the published file, got {weights!r} for {name}: {reason}"
        ) from error
    if further := _further_scales(network):
        plain = constructor(include_top=False, weights=None, input_shape=shape, **arguments)
        network = _scaled(network, plain, further)
    pool = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    network = keras.Model(
        network.inputs[0], pool(name="pooling")(network.output), name=network.name
    )
    network.trainable = False
    return network


def _further_scales(network: keras.Model) -> list[np.ndarray]:
    """What Keras multiplies each channel with, in layers that it adds for its own weights alone."""
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Rescaling)]
    return [np.array(layer.scale) for layer in layers if np.ndim(layer.scale)]


def _scaled(network: keras.Model, plain: keras.Model, further: list[np.ndarray]) -> keras.Model:
    """`plain` with the weights of `network`, its normalization scaled as further layers do there.

    So that what weights are read into, whenever it is built, is one network: EfficientNet's has a
    layer more where Keras reads its own.
    """
    plain.set_weights(network.get_weights())
    [normalization] = [x for x in plain.layers if isinstance(x, keras.layers.Normalization)]
    mean, variance, count = normalization.get_weights()
    for scale in further:
        variance = variance / np.square(scale)
    normalization.set_weights([mean, variance, count])
    normalization.finalize_state()
    return plain


def load_weights(network: keras.Model, path: Path) -> None:
    """Read `path` (`.weights.h5`, or the older `.h5`) into `network`, or raise a `Mistake`.

    Only numbers are read: the architecture is always built from our own code, because a
    `.keras` file can carry code that runs when it is loaded.
    """
    try:
        network.load_weights(path)
    except Exception as error:  # Keras and h5py raise whatever they meet first.
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(
            f"model.weights must fit the backbone {network.name}, got {str(path)!r}: {reason}"
        ) from error
