"""wav2vec 2.0 and HuBERT: a network of Keras, with the weights of a folder of Hugging Face.

Baevski et al. 2020 (arXiv:2006.11477); Hsu et al. 2021 (arXiv:2106.07447), whose network is the
same. KerasHub has neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import safetensors.numpy

from models import presets, waveforms
from models.mistakes import Mistake

_INDEX, _FILE = "model.safetensors.index.json", "model.safetensors"


def encode(
    config: Mapping[str, Any], processor: Mapping[str, Any], samples: Any
) -> tuple[Any, Any]:
    """Symbolic (batch, samples) → (batch, places, features), and which places are of the sound.

    Args:
        config: Hugging Face's, of the model, …
        processor: … and of its feature extractor.
    """
    _check(config)
    grouped = config.get("feat_extract_norm", "group") == "group"
    steps = list(zip(config["conv_kernel"], config["conv_stride"], strict=True))
    standardized = bool(processor.get("do_normalize", True))
    x, seen = waveforms.Heard(steps, standardized=standardized, name="heard")(samples)
    x = keras.layers.Reshape((-1, 1), name="waveform")(x)
    for number, (size, stride) in enumerate(steps):
        x = _convolved(config, number, size, stride, grouped)(x)
    epsilon = float(config["layer_norm_eps"])
    if config.get("feat_proj_layer_norm", True):
        x = keras.layers.LayerNormalization(epsilon=epsilon, name="projection_norm")(x)
    x = keras.layers.Dense(config["hidden_size"], name="projection")(x)
    masked = processor.get("return_attention_mask", not grouped)
    if masked:
        x = x * keras.ops.cast(seen, x.dtype)[:, :, None]
    x = x + Positions(
        size=config["num_conv_pos_embeddings"],
        groups=config["num_conv_pos_embedding_groups"],
        name="positions",
    )(x)
    first = bool(config.get("do_stable_layer_norm"))
    if not first:
        x = keras.layers.LayerNormalization(epsilon=epsilon, name="encoder_norm")(x)
    for number in range(config["num_hidden_layers"]):
        layer = keras_hub.layers.TransformerEncoder(
            intermediate_dim=config["intermediate_size"],
            num_heads=config["num_attention_heads"],
            dropout=float(config.get("hidden_dropout", 0.0)),
            activation=_activation(config),
            layer_norm_epsilon=epsilon,
            normalize_first=first,
            name=f"layers_{number}",
        )
        x = layer(x, padding_mask=seen) if masked else layer(x)
    if first:
        x = keras.layers.LayerNormalization(epsilon=epsilon, name="encoder_norm")(x)
    return x, seen


_NEEDED = (
    *("conv_dim", "conv_kernel", "conv_stride", "hidden_size", "intermediate_size"),
    *("layer_norm_eps", "num_attention_heads", "num_hidden_layers"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
)


def _check(config: Mapping[str, Any]) -> None:
    for key in _NEEDED:
        if key not in config:
            raise Mistake(f"model.backbone must have {key} in its config.json")
    for key, only in (("add_adapter", False), ("conv_pos_batch_norm", False)):
        if config.get(key, only) != only:
            raise Mistake(f"model.backbone must have no {key}, got {config[key]!r}")


def _activation(config: Mapping[str, Any], key: str = "hidden_act") -> Any:
    name = config.get(key, "gelu")
    if name not in ("gelu", "relu", "silu", "swish", "gelu_new", "gelu_pytorch_tanh"):
        raise Mistake(f"model.backbone must have a {key} that Keras has, got {name!r}")
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        return lambda x: keras.ops.gelu(x, approximate=True)
    return (lambda x: keras.ops.gelu(x, approximate=False)) if name == "gelu" else name


def _convolved(
    config: Mapping[str, Any], number: int, size: int, stride: int, grouped: bool
) -> Callable[[Any], Any]:
    """A convolution without padding, its normalization and its activation."""
    filters = config["conv_dim"][number]
    convolution = keras.layers.Conv1D(
        filters, size, stride, use_bias=bool(config.get("conv_bias")), name=f"conv_{number}"
    )
    activation = _activation(config, "feat_extract_activation")
    norm: Any = None
    if not grouped:
        norm = keras.layers.LayerNormalization(epsilon=1e-5, name=f"conv_{number}_norm")
    elif number == 0:  # Each channel for itself, over time.
        norm = keras.layers.GroupNormalization(filters, epsilon=1e-5, name="conv_0_norm")

    def call(x: Any) -> Any:
        x = convolution(x)
        return keras.layers.Activation(activation)(norm(x) if norm else x)

    return call


class Positions(keras.layers.Layer):
    """(batch, places, features) → the same, of a convolution in groups over many places.

    A convolution a group: TensorFlow has no gradient of one in groups on a CPU.
    """

    def __init__(self, *, size: int, groups: int, **others: Any) -> None:
        super().__init__(**others)
        self._size, self._groups = size, groups

    def build(self, shape: tuple[int | None, ...]) -> None:
        features = int(shape[-1] or 0)
        self.kernel = self.add_weight(
            shape=(self._size, features // self._groups, features), name="kernel"
        )
        self.bias = self.add_weight(shape=(features,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        half = self._size // 2
        padded = keras.ops.pad(x, [[0, 0], [half, half - (self._size % 2 == 0)], [0, 0]])
        parts = keras.ops.split(padded, self._groups, axis=-1)
        kernels = keras.ops.split(self.kernel, self._groups, axis=-1)
        made = [keras.ops.conv(*pair, padding="valid") for pair in zip(parts, kernels, strict=True)]
        return keras.ops.gelu(keras.ops.concatenate(made, axis=-1) + self.bias, approximate=False)


def load(network: keras.Model, config: Mapping[str, Any], folder: Path) -> None:
    """Read the folder's weights into the layers that `encode` made, or raise a `Mistake`."""
    try:
        known = _read(folder)
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(_weights_of(layer, known, config))
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise presets.unreadable(folder, "weights that fit its config", error) from error


def _read(folder: Path) -> dict[str, np.ndarray]:
    """The names of weights, without what stands before all of them → what they are."""
    files = [folder / _FILE]
    if (folder / _INDEX).is_file():
        index = json.loads((folder / _INDEX).read_text())
        # Names alone: what an index says is no reason to look elsewhere.
        files = [folder / Path(name).name for name in sorted(set(index["weight_map"].values()))]
    found: dict[str, np.ndarray] = {}
    for file in files:
        for name, value in safetensors.numpy.load_file(file).items():
            found[name.removeprefix("wav2vec2.").removeprefix("hubert.")] = value
    return {name: value.astype(np.float32) for name, value in found.items()}


def _weights_of(
    layer: Any, known: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> list[np.ndarray]:
    """Of a layer, in the order of its own."""
    kind, _, number = layer.name.partition("_")
    if kind == "layers":
        return _of_block(known, f"encoder.layers.{number}", config["num_attention_heads"])
    if layer.name == "positions":
        return _of_positions(known, "encoder.pos_conv_embed.conv")
    if kind == "conv":
        where = f"feature_extractor.conv_layers.{number.removesuffix('_norm')}"
        if layer.name.endswith("_norm"):
            return _pair(known, f"{where}.layer_norm")
        return _pair(known, f"{where}.conv")
    where = {
        "projection_norm": "feature_projection.layer_norm",
        "projection": "feature_projection.projection",
        "encoder_norm": "encoder.layer_norm",
    }[layer.name]
    return _pair(known, where)


def _pair(known: Mapping[str, np.ndarray], where: str) -> list[np.ndarray]:
    """A weight, its axes the other way round, as theirs are, and its bias where it has one."""
    found = [known[f"{where}.weight"].T]
    return [*found, known[f"{where}.bias"]] if f"{where}.bias" in known else found


def _of_positions(known: Mapping[str, np.ndarray], where: str) -> list[np.ndarray]:
    """A kernel that is stored as its length at each place, and its direction."""
    names = ("weight_g", "weight_v")
    if f"{where}.{names[0]}" not in known:
        names = ("parametrizations.weight.original0", "parametrizations.weight.original1")
    size, direction = (known[f"{where}.{name}"] for name in names)
    kernel = size * direction / np.sqrt(np.square(direction).sum(axis=(0, 1), keepdims=True))
    return [kernel.T, known[f"{where}.bias"]]


def _of_block(known: Mapping[str, np.ndarray], where: str, heads: int) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for part in ("q_proj", "k_proj", "v_proj"):
        kernel, bias = _pair(known, f"{where}.attention.{part}")
        found += [kernel.reshape(len(kernel), heads, -1), bias.reshape(heads, -1)]
    kernel, bias = _pair(known, f"{where}.attention.out_proj")
    found += [kernel.reshape(heads, -1, kernel.shape[-1]), bias]
    for part in ("layer_norm", "final_layer_norm"):
        found += _pair(known, f"{where}.{part}")
    for part in ("intermediate_dense", "output_dense"):
        found += _pair(known, f"{where}.feed_forward.{part}")
    return found
