"""Frozen BatchNormalization folded into the convolution before it: less to compute, same weights.

Where its statistics cannot move, BatchNormalization is a multiplication and an addition for every
activation. Taken into the kernel and the bias of the convolution before it (Jacob et al. 2018,
arXiv:1712.05877, section 3.2) they cost next to nothing, forward and backward. And zeros that are
put around an activation copy all of it, where the convolution would see them by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models import hardware
from models.splitting import steps


def fold(network: keras.Model, *, precision: str | None = None) -> keras.Model:
    """The same function as `network`, of the same variables, that is cheaper to compute.

    Every frozen BatchNormalization that alone reads a linear convolution or dense layer becomes
    one layer with it, and with the zero padding before it where `same` would add the same zeros.
    Nothing is copied: what training moves in one model has moved in the other.

    Args:
        network: a functional model.
        precision: what convolutions (but for depthwise ones) and dense layers multiply in,
            `bfloat16` or `float16`, where it is not what they are given and give. The dense
            layers within other layers, such as a transformer's, are set to it in `network`, too;
            their weights stay what they are.
    """
    graph = _Graph(network)
    normalizations = _foldable(network, graph)
    linear = [
        layer
        for layer in network.layers
        if id(layer) in normalizations or (precision and _is_linear(graph, layer))
    ]
    paddings = _needless(linear, graph)
    gone = {id(layer) for layer in (*normalizations.values(), *paddings.values())}
    replaced = {
        id(layer): Folded(layer, normalizations.get(id(layer)), precision, paddings.get(id(layer)))
        for layer in linear
    }

    for layer in network.layers if precision else []:
        if id(layer) not in replaced:
            _multiply_in(layer, f"mixed_{precision}")

    def replace(layer: Any) -> Any:
        return replaced.get(id(layer), layer)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if id(layer) in gone else layer(*args, **kwargs)

    return keras.models.clone_model(network, clone_function=replace, call_function=call)


def _multiply_in(layer: Any, policy: str) -> None:
    """Let the dense layers within `layer` multiply under a policy of mixed precision.

    What they give is float32, as without it: not every layer adds numbers of two precisions.
    """
    for part in layer._flatten_layers(include_self=False):
        if type(part) in (keras.layers.Dense, keras.layers.EinsumDense):
            part.dtype_policy = keras.DTypePolicy(policy)
            part.activation = _of_float32(part.activation)


def _of_float32(activation: Any) -> Any:
    return lambda outputs: activation(ops.cast(outputs, "float32"))


class Folded(keras.layers.Layer):
    """A linear layer, the frozen BatchNormalization after it and the zeros before it, as one."""

    def __init__(
        self, layer: Any, normalization: Any, precision: str | None, pads: Any = None
    ) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self._layer, self._normalization, self._precision = layer, normalization, precision
        self._pads = pads
        self._padding = "same" if pads else getattr(layer, "padding", "")
        self.built = True

    def call(self, inputs: Any) -> Any:
        layer, scale, shift = self._layer, None, None
        if self._normalization:
            scale, shift = _affine(self._normalization)
        precision = self._precision or self.compute_dtype
        outputs = _LINEAR[type(layer)](layer, inputs, scale, precision, self._padding)
        outputs = ops.cast(outputs, self.compute_dtype)
        bias = layer.bias if layer.use_bias else None
        if bias is not None and scale is not None:
            bias = bias * scale + shift
        elif bias is None:
            bias = shift
        return layer.activation(outputs if bias is None else hardware.plus_bias(outputs, bias))

    def compute_output_shape(self, input_shape: Any) -> Any:
        pads = self._pads
        return self._layer.compute_output_shape(
            pads.compute_output_shape(input_shape) if pads else input_shape
        )


def _affine(normalization: Any) -> tuple[Any, Any]:
    """(scale, shift), a number a channel each, that a frozen BatchNormalization comes to."""
    scale = ops.rsqrt(normalization.moving_variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * normalization.gamma
    shift = -normalization.moving_mean * scale
    return scale, shift + normalization.beta if normalization.center else shift


def _scaled(kernel: Any, scale: Any, precision: str) -> Any:
    return ops.cast(kernel if scale is None else kernel * scale, precision)


def _conv(layer: Any, inputs: Any, scale: Any, precision: str, padding: str) -> Any:
    kernel = _scaled(layer.kernel, scale, precision)
    inputs = ops.cast(inputs, precision)
    ones = all(size == 1 for size in (*layer.kernel_size, *layer.strides, layer.groups))
    if ones and precision in ("bfloat16", "float16"):
        # As a product of matrices the CPU's 16-bit units do it 1.7 times as fast backward.
        *outer, channels = ops.shape(inputs)
        flat = ops.matmul(
            ops.reshape(inputs, (-1, channels)), ops.reshape(kernel, (channels, layer.filters))
        )
        return ops.reshape(flat, (-1, *outer[1:], layer.filters))
    return ops.conv(inputs, kernel, layer.strides, padding, layer.data_format, layer.dilation_rate)


def _depthwise_conv(layer: Any, inputs: Any, scale: Any, precision: str, padding: str) -> Any:
    """In no other precision: there is little to multiply, and 16 bits are slower on the CPU."""
    del precision
    kernel = layer.kernel
    if scale is not None:
        kernel = kernel * ops.reshape(scale, kernel.shape[2:])
    return ops.depthwise_conv(
        inputs, kernel, layer.strides, padding, layer.data_format, layer.dilation_rate
    )


def _separable_conv(layer: Any, inputs: Any, scale: Any, precision: str, padding: str) -> Any:
    return ops.separable_conv(
        ops.cast(inputs, precision),
        ops.cast(layer.depthwise_kernel, precision),
        _scaled(layer.pointwise_kernel, scale, precision),
        layer.strides,
        padding,
        layer.data_format,
        layer.dilation_rate,
    )


def _dense(layer: Any, inputs: Any, scale: Any, precision: str, padding: str) -> Any:
    del padding
    return ops.matmul(ops.cast(inputs, precision), _scaled(layer.kernel, scale, precision))


_LINEAR = {
    keras.layers.Conv2D: _conv,
    keras.layers.DepthwiseConv2D: _depthwise_conv,
    keras.layers.SeparableConv2D: _separable_conv,
    keras.layers.Dense: _dense,
}


class _Graph:
    """Who makes and who reads what in a network.

    Where it begins at a tensor of another network, Keras has cloned its tensors, and
    `layer.input` is still the other network's: only the network's own steps know.
    """

    def __init__(self, network: keras.Model) -> None:
        self._makers: dict[int, Any] = {}
        self._inputs: dict[int, Any] = {}
        self._calls: Counter[int] = Counter()
        read: Counter[int] = Counter()
        for step in steps(network):
            self._makers |= {id(tensor): step.operation for tensor in step.output_tensors}
            self._inputs[id(step.operation)] = step.input_tensors[0]
            self._calls[id(step.operation)] += 1
            read.update(map(id, step.input_tensors))
        outputs = {id(tensor) for tensor in network.outputs}
        self._alone = {tensor for tensor, times in read.items() if times == 1} - outputs

    def once(self, layer: Any) -> bool:
        """Whether the network calls `layer` a single time."""
        return self._calls[id(layer)] == 1

    def input_of(self, layer: Any) -> Any:
        return self._inputs[id(layer)]

    def before(self, layer: Any) -> Any:
        """What makes what `layer` reads, where nothing else is called there or reads it."""
        tensor = id(self.input_of(layer))
        maker = self._makers.get(tensor) if tensor in self._alone else None
        return maker if maker is not None and self.once(maker) else None


def _is_linear(graph: _Graph, layer: Any) -> bool:
    """Whether `Folded` can take the place of `layer`, wherever it is called."""
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return type(layer) in _LINEAR and channels_last and graph.once(layer)


def _foldable(network: keras.Model, graph: _Graph) -> dict[int, Any]:
    """The id of a convolution or dense layer → the BatchNormalization to fold into it."""
    found = {}
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable:
            before = graph.before(layer)
            if (
                graph.once(layer)
                and _is_linear(graph, before)
                and before.activation is keras.activations.linear
                and layer.axis in (-1, len(graph.input_of(layer).shape) - 1)
            ):
                found[id(before)] = layer
    return found


def _needless(layers: Sequence[Any], graph: _Graph) -> dict[int, Any]:
    """The id of each of some convolutions → the padding before it that it could add by itself."""
    found = {}
    for layer in layers:
        before = graph.before(layer)
        if (
            type(before) is keras.layers.ZeroPadding2D
            and getattr(layer, "padding", "") == "valid"
            and _as_same(before, graph.input_of(before).shape[1:3], layer)
        ):
            found[id(layer)] = before
    return found


def _as_same(padding: Any, sizes: Sequence[int | None], layer: Any) -> bool:
    """Whether `same` would add to the convolution `layer` what `padding` does."""
    if set(np.ravel(layer.dilation_rate)) != {1} or padding.data_format != "channels_last":
        return False
    sides = zip(sizes, layer.kernel_size, layer.strides, padding.padding, strict=True)
    for size, kernel, stride, given in sides:
        if size is None:
            return False
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        if tuple(given) != (total // 2, total - total // 2):
            return False
    return True
