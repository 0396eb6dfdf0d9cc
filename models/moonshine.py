"""Moonshine's encoder: Jeffries et al. 2024 (arXiv:2410.15608), from a preset of KerasHub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from models import presets, waveforms


def encode(folder: Path, weights: bool, samples: Any) -> tuple[Any, Any]:
    """Symbolic (batch, samples) → (batch, places, features), and which places are of the sound."""
    sizes = {} if weights else {"vocabulary_size": 1, "decoder_num_layers": 1}
    backbone = presets.open_backbone("MoonshineBackbone", folder, weights=weights, **sizes)
    samples, seen = waveforms.Heard([(127, 64), (7, 3), (3, 2)], name="heard")(samples)
    x: Any = keras.layers.Reshape((-1, 1), name="waveform")(samples)
    for layer in (
        *(backbone.conv1, backbone.tanh_after_conv1, backbone.group_norm),
        *(backbone.conv2, backbone.gelu_after_conv2, backbone.conv3, backbone.gelu_after_conv3),
        backbone.encoder_dropout,
    ):
        x = layer(x)
    for block in backbone.encoder_blocks:
        x = _Block(block, backbone.encoder_rotary_embedding)(x, seen)
    return backbone.encoder_final_layer_norm(x), seen


class _Block(keras.layers.Layer):
    """A block with what it needs to know of places, in which no example has a part.

    Computed again for each block, it is never stored.
    """

    def __init__(self, block: Any, rotary: Any) -> None:
        super().__init__(name=block.name, dtype=block.dtype_policy)
        self._block, self._rotary = block, rotary

    def call(self, hidden: Any, seen: Any, training: bool | None = None) -> Any:
        turns = self._rotary(keras.ops.arange(hidden.shape[1], dtype="int32"))
        there = keras.ops.cast(seen, "bool")[:, None]
        return self._block(hidden, turns, attention_mask=there, training=training)
