"""Tiny presets of every family of image encoders, random, as folders that KerasHub wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub

SIZE = 32
_SHAPE = (SIZE, SIZE, 3)
_SIZES: dict[str, Any] = {
    "image_shape": _SHAPE,
    "patch_size": 8,
    "num_layers": 3,
    "num_heads": 2,
    "hidden_dim": 16,
}
_TEXT: dict[str, Any] = {
    "vocabulary_size": 20,
    "embedding_dim": 16,
    "hidden_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "intermediate_dim": 16,
    "max_sequence_length": 8,
}


def write_image_preset(family: str, folder: Path, seed: int = 0) -> Path:
    """A preset of a few blocks with random weights, and how it wants its pictures scaled."""
    keras.utils.set_random_seed(seed)
    backbone = _MADE[family](keras_hub.models)
    for weight in backbone.weights:  # At their usual 0.02 the outputs are almost constant.
        if len(weight.shape) in (2, 3) and "token" not in weight.path:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3))
    folder.mkdir(parents=True)
    backbone.save_to_preset(str(folder))
    converter = _converter(family)(
        image_size=(SIZE, SIZE), scale=[1 / 50, 1 / 60, 1 / 70], offset=[-2.0, -1.5, -1.0]
    )
    converter.save_to_preset(str(folder))
    return folder


def _converter(family: str) -> Any:
    of_class = {"DINOv2": "DINOV2"}.get(family, family)
    return getattr(keras_hub.layers, f"{of_class}ImageConverter")


def _clip(models: Any) -> Any:
    seen = models.CLIPVisionEncoder(**_SIZES, intermediate_dim=32)
    return models.CLIPBackbone(seen, models.CLIPTextEncoder(**_TEXT), projection_dim=8)


def _sig_lip(models: Any) -> Any:
    seen = models.SigLIPVisionEncoder(**_SIZES, intermediate_dim=32)
    return models.SigLIPBackbone(seen, models.SigLIPTextEncoder(**_TEXT, projection_dim=16))


def _res_net(models: Any) -> Any:
    return models.ResNetBackbone(
        input_conv_filters=[8],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 2],
        stackwise_num_strides=[1, 2],
        block_type="bottleneck_block",
    )


def _efficient_net(models: Any) -> Any:
    return models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 3,
        stackwise_depth_coefficients=[1.0] * 3,
        stackwise_kernel_sizes=[3, 3, 5],
        stackwise_num_repeats=[1, 2, 1],
        stackwise_input_filters=[8, 8, 16],
        stackwise_output_filters=[8, 16, 16],
        stackwise_expansion_ratios=[1, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25, 0.0],
        stackwise_strides=[1, 2, 2],
        # One of layers, and two that are a layer each, with BatchNormalization in it.
        stackwise_block_types=["v1", "unfused", "fused"],
    )


_MADE: dict[str, Callable[[Any], Any]] = {
    "ViT": lambda models: models.ViTBackbone(**_SIZES, mlp_dim=32),
    "DeiT": lambda models: models.DeiTBackbone(**_SIZES, intermediate_dim=32),
    "DINOv2": lambda models: models.DINOV2Backbone(
        **_SIZES, intermediate_dim=32, position_embedding_shape=(SIZE, SIZE), num_register_tokens=2
    ),
    "CLIP": _clip,
    "SigLIP": _sig_lip,
    "ResNet": _res_net,
    "EfficientNet": _efficient_net,
}
