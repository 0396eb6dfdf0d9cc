"""The steps that minimize: optimizers, for every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras

from models import distribution, hardware

# From so many weights on, compiling the optimizer's step pays: of 22 million a training step took
# 288 ms instead of 324, and compiling some three seconds.
FUSED_FROM = 5_000_000


class Adam(keras.optimizers.Adam):
    """Keras's own, of which nothing stays once a model is trained.

    On TensorFlow that adds gradients up over all devices, of which there may be one, by a function
    with a gradient of its own, and TensorFlow never forgets one of those: the graph of every step
    that was ever traced would stay, 6 MiB a run.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        if distribution.replicas() == 1:
            return grads_and_vars
        return super()._all_reduce_sum_gradients(grads_and_vars)


class LayerwiseAdamW(Adam):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with a learning rate for each variable.

    Args:
        rates: a variable's path → what its learning rate is multiplied by; 1 where not named.
        decay: the share of each weight, times its learning rate, that a step takes away.
            (Keras's own weight decay knows nothing of such rates.)
        clip_norm: the gradient of the whole batch, as one vector, is made no longer than this; 0
            leaves it as it is. (Keras's own clips what each device has, before it adds them up.)
        anchors: a variable's path → the values that it is drawn back to (L2-SP: Li et al. 2018,
            arXiv:1802.01483), as weight decay draws to 0: by the share `pull`, times its learning
            rate, of how far it is from them.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        rates: Mapping[str, float],
        decay: float,
        clip_norm: float,
        anchors: Mapping[str, Any],
        pull: float,
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate, name="adamw", **arguments)
        self._rates, self._decay, self._clip_norm = rates, decay, clip_norm
        self._pull = pull
        self._anchors = {p: keras.ops.convert_to_tensor(x) for p, x in anchors.items() if pull}

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        variables = self._trainable_variables
        step = super().apply
        if self._clip_norm:
            grads = self._clipped(grads)
        few = sum(math.prod(variable.shape) for variable in variables) < FUSED_FROM
        if few or any(gradient is None for gradient in grads):
            step(grads, trainable_variables)
            return
        # An embedding's gradient has rows for the tokens that occurred alone.
        dense = [keras.ops.convert_to_tensor(gradient) for gradient in grads]
        hardware.fused(lambda *given: step(list(given), variables))(*dense)

    def _clipped(self, grads: Any) -> list[Any]:
        """What adds up over all devices to the gradient, clipped."""
        dense = [
            keras.ops.convert_to_tensor(gradient) for gradient in grads if gradient is not None
        ]
        whole, devices = distribution.summed(dense)
        length = keras.ops.sqrt(sum(keras.ops.sum(keras.ops.square(each)) for each in whole))
        share = self._clip_norm / (devices * keras.ops.maximum(length, self._clip_norm))
        clipped = iter([each * keras.ops.cast(share, each.dtype) for each in whole])
        return [None if gradient is None else next(clipped) for gradient in grads]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # On TensorFlow it is the backend's own variable, which has the path for a name.
        path = getattr(variable, "path", None) or variable.name.removesuffix(":0")
        rate = learning_rate * self._rates.get(path, 1.0)
        if self._decay and len(variable.shape) > 1:  # Biases, norms and scales are left alone.
            share = keras.ops.cast(rate * self._decay, variable.dtype)
            self.assign_sub(variable, keras.ops.multiply(variable, share))
        if path in self._anchors:
            share = keras.ops.cast(keras.ops.minimum(rate * self._pull, 1.0), variable.dtype)
            apart = keras.ops.subtract(variable, self._anchors[path])
            self.assign_sub(variable, keras.ops.multiply(apart, share))
        super().update_step(gradient, variable, rate)


def build_optimizer(
    *,
    learning_rate: float,
    steps: int,
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    ema: float = 0.0,
    rates: Mapping[str, float] | None = None,
    anchors: Mapping[str, Any] | None = None,
    pull: float = 0.0,
    precision: str | None = None,
) -> keras.optimizers.Optimizer:
    """AdamW whose learning rate rises linearly, then falls along a cosine (arXiv:1608.03983) to 0.

    Args:
        learning_rate: the highest.
        steps: in all; `warmup_steps` of them are for rising.
        clip_norm: the gradient, as one vector, is made no longer than this; 0 leaves it as it is.
        ema: momentum of the exponential moving average of the weights; 0 for none.
        rates: see `LayerwiseAdamW`; and `anchors`, `pull`.
        precision: what the network multiplies in; `float16` has its loss scaled, or small
            gradients would vanish.
    """
    optimizer = LayerwiseAdamW(
        keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else learning_rate,
            decay_steps=max(1, steps - warmup_steps),
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        ),
        rates=rates or {},
        decay=weight_decay,
        clip_norm=clip_norm,
        anchors=anchors or {},
        pull=pull,
        use_ema=bool(ema),
        ema_momentum=ema or 0.99,
    )
    if precision == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
