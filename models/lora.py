"""LoRA (Hu et al. 2021, arXiv:2106.09685): low-rank changes of frozen kernels, with Keras's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def enable(layers: Iterable[keras.layers.Layer], rank: int) -> None:
    """Freeze what is trainable in `layers`, and train low-rank changes of their kernels instead.

    Dense layers and convolutions have kernels; embeddings are left as they are.
    """
    for layer in _within(layers):
        if _has_kernel(layer) and not layer.lora_enabled:
            layer.enable_lora(rank)
        for variable in layer._trainable_variables:
            variable.trainable = variable.name.startswith("lora_")


def merge(layers: Iterable[keras.layers.Layer]) -> dict[str, float]:
    """Add the changes to the kernels they belong to, in float32, so that nothing is left of them.

    Keras does the same when it saves, but in the precision that the layer computes in.

    Returns:
        Each kernel's path and its largest change.
    """
    moved = {}
    for layer in _within(layers):
        if _has_kernel(layer) and layer.lora_enabled:
            policy, layer.dtype_policy = layer.dtype_policy, keras.DTypePolicy("float32")
            merged = layer.kernel
            moved[layer._kernel.path] = float(keras.ops.max(keras.ops.abs(merged - layer._kernel)))
            layer._kernel.assign(merged)
            layer.lora_kernel_b.assign(keras.ops.zeros_like(layer.lora_kernel_b))
            layer.dtype_policy = policy
    return moved


def _has_kernel(layer: Any) -> bool:
    return hasattr(layer, "enable_lora") and not isinstance(layer, keras.layers.Embedding)


def _within(layers: Iterable[keras.layers.Layer]) -> Iterator[Any]:
    for layer in layers:
        yield from layer._flatten_layers()
