"""Tiny presets of every family of audio encoders, random; of Hugging Face's, as they write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import safetensors.numpy

from models.audio_encoders import FAMILIES

_SIZES: dict[str, Any] = {"hidden_dim": 16, "intermediate_dim": 32, "vocabulary_size": 20}
CONFIG: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [40, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
# What base and large models differ in.
BASE = {"feat_extract_norm": "group", "conv_bias": False, "do_stable_layer_norm": False}
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}


def write_audio_preset(family: str, folder: Path, seed: int = 0, **others: Any) -> Path:
    """A preset of three layers with random weights.

    Args:
        others: for Hugging Face's config.
    """
    folder.mkdir(parents=True)
    if FAMILIES[family].model_type:
        return _write_theirs(family, folder, seed, others or BASE)
    keras.utils.set_random_seed(seed)
    backbone = _made(family)
    for weight in backbone.weights:  # At their usual 0.02 the outputs are almost constant.
        if len(weight.shape) > 1 and weight.trainable:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3))
    backbone.save_to_preset(str(folder))
    return folder


def _made(family: str) -> Any:
    if family == "Whisper":
        return keras_hub.models.WhisperBackbone(**_SIZES, num_layers=3, num_heads=2, num_mels=20)
    return keras_hub.models.MoonshineBackbone(
        **_SIZES,
        filter_dim=16,
        encoder_num_layers=3,
        decoder_num_layers=1,
        encoder_num_heads=2,
        decoder_num_heads=2,
    )


def _write_theirs(family: str, folder: Path, seed: int, others: dict[str, Any]) -> Path:
    model_type = FAMILIES[family].model_type
    config = {"model_type": model_type, **CONFIG, **others}
    (folder / "config.json").write_text(json.dumps(config))
    masked = config["feat_extract_norm"] == "layer"
    processor = {"do_normalize": True, "return_attention_mask": masked}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    weights = {f"{model_type}.{k}": v for k, v in theirs(config, seed).items()}
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    return folder


def theirs(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Random weights by the names and of the shapes that Hugging Face has for them."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int, bias: bool = True) -> None:
        wide = 0.3 if len(shape) > 1 else 0.1
        found[f"{name}.weight"] = rng.normal(1.0 if len(shape) == 1 else 0.0, wide, shape)
        if bias:
            found[f"{name}.bias"] = rng.normal(0.0, 0.1, shape[0])

    hidden, inner = config["hidden_size"], config["intermediate_size"]
    before = 1
    for number, (filters, size) in enumerate(
        zip(config["conv_dim"], config["conv_kernel"], strict=True)
    ):
        where = f"feature_extractor.conv_layers.{number}"
        add(f"{where}.conv", filters, before, size, bias=config["conv_bias"])
        if number == 0 or config["feat_extract_norm"] == "layer":
            add(f"{where}.layer_norm", filters)
        before = filters
    add("feature_projection.layer_norm", before)
    add("feature_projection.projection", hidden, before)
    size, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
    where = "encoder.pos_conv_embed.conv"
    found[f"{where}.weight_v"] = rng.normal(0, 1, (hidden, hidden // groups, size))
    found[f"{where}.weight_g"] = rng.uniform(0.5, 1.5, (1, 1, size))
    found[f"{where}.bias"] = rng.normal(0, 0.1, hidden)
    add("encoder.layer_norm", hidden)
    for number in range(config["num_hidden_layers"]):
        where = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"{where}.attention.{part}", hidden, hidden)
        add(f"{where}.layer_norm", hidden)
        add(f"{where}.final_layer_norm", hidden)
        add(f"{where}.feed_forward.intermediate_dense", inner, hidden)
        add(f"{where}.feed_forward.output_dense", hidden, inner)
    return {name: value.astype(np.float32) for name, value in found.items()}
