"""What else than the backend can compute a frozen network here, where it is installed.

Only engines that multiply float32 in float32: the head reads what is served, which is float32. In
16 bits the pooled features of MobileNetV2 are off by 4 % (its products alone) to 15 % (whatever
TensorFlow or OpenVINO choose to), which is no rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epy

from models import folding
from models.splitting import one_or_all

with epy.lazy_imports():
    import openvino

# A batch of each input → each output.
Run = Callable[[list[np.ndarray]], list[np.ndarray]]


def others() -> dict[str, Callable[[keras.Model], Run]]:
    """The name of each engine that is installed → what makes a network run on it."""
    return {"openvino": _openvino} if find_spec("openvino") else {}


def versions() -> str:
    """Of what computes: a measurement of other ones is void."""
    return " ".join([tf.__version__, openvino.__version__ if others() else ""])


def _openvino(network: keras.Model) -> Run:
    """https://docs.openvino.ai, "Convert a TensorFlow Model" and "Precision Control"."""
    folded = folding.fold(network)
    function = tf.function(lambda *given: folded(one_or_all(given), training=False))
    specs = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in network.inputs]
    model = openvino.convert_model(function.get_concrete_function(*specs))
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        found: Any = request.infer(inputs)
        return [found[output].copy() for output in range(len(found))]

    return run
