"""What the backend and the hardware are fastest with."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from etils import epy

from models import distribution

with epy.lazy_imports():
    import keras
    import tensorflow as tf

Half = Literal["bfloat16", "float16"]


def jit_compile() -> bool | str:
    """What `compile()` is to be told: its "auto" means XLA on TensorFlow, on the CPU too.

    There it is several times slower than TensorFlow itself for depthwise networks.
    """
    return False if keras.backend.backend() == "tensorflow" else "auto"


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, its element-wise work in as few passes over memory as can be.

    TensorFlow alone makes one for every operation, and XLA, which does better, is asked for this
    function only; other backends have one answer for the whole step. Compiling takes seconds. A
    function in which devices wait for each other cannot be compiled.
    """
    if keras.backend.backend() != "tensorflow" or distribution.replicas() > 1:
        return function
    compiled: Callable[..., Any] = tf.function(function, jit_compile=True, autograph=False)
    return compiled


def as_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of arrays as one graph of TensorFlow's, as Keras makes one of a step."""
    compiled: Callable[..., Any] = tf.function(function, reduce_retracing=True, autograph=False)
    return compiled


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """TensorFlow multiplies float32 in float32 in this context; GPUs have fewer bits for it."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def plus_bias(outputs: Any, bias: Any) -> Any:
    """(…, channels) plus (channels,), as the backend knows best to fuse with what is around it."""
    if keras.backend.backend() == "tensorflow":
        return tf.nn.bias_add(outputs, tf.cast(bias, outputs.dtype))
    return outputs + bias


def padded_length(longest: int) -> int:
    """How long to make a batch of ragged examples whose longest is `longest`.

    A backend that compiles for every shape anew has few of them this way; others pad no more
    than they must.
    """
    return -(-longest // 16) * 16 if keras.backend.backend() == "jax" else longest


def half_precision() -> Half | None:
    """The 16-bit type that this machine multiplies matrices faster in than float32, or None.

    TPUs and NVIDIA GPUs since Ampere (compute capability 8) have bfloat16, GPUs since Volta (7)
    float16, and CPUs with AMX bfloat16.
    """
    devices = _devices()
    if "tpu" in devices:
        return "bfloat16"
    if "gpu" in devices:
        capability = _compute_capability()
        return "bfloat16" if capability >= 8 else "float16" if capability >= 7 else None
    cpu = Path("/proc/cpuinfo")
    return "bfloat16" if cpu.exists() and "amx_bf16" in cpu.read_text() else None


def has_gpu() -> bool:
    """Whether the backend computes on one."""
    return "gpu" in _devices()


def _devices() -> str:
    """The kinds of devices that the backend uses."""
    if keras.backend.backend() == "torch":  # Keras cannot list them there.
        return "gpu" if keras.ops.convert_to_tensor(0).device.type == "cuda" else "cpu"
    return " ".join(keras.distribution.list_devices()).lower()


def _compute_capability() -> float:
    """Of the first NVIDIA GPU; 0 where it cannot be told."""
    if not (tool := shutil.which("nvidia-smi")):
        return 0.0
    query = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    first = answer.strip().splitlines()[0] if answer.strip() else ""
    return float(first) if first.replace(".", "", 1).isdecimal() else 0.0
