"""A model loaded as a server will: by a new process, with limits, and asked.

What the process that trained it knows, a new one does not: a model may load there and not here.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from etils import epy

from models.mistakes import Mistake
from models.quiet import import_tensorflow

with epy.lazy_imports():
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from components.served import opening

# That it may take where nothing else is said.
MEMORY, SECONDS = 8_000_000_000, 300.0
_WARMUP = "assets.extra/tf_serving_warmup_requests"
_ROOT = Path(__file__).parent.parent.parent


def check(path: Path, modality: str, memory: int, seconds: float) -> None:
    """Load the model at `path` in a process of its own, and ask it.

    Args:
        memory: bytes that it may take.
        seconds: that it may take.

    Raises:
        Mistake: it cannot be loaded, takes more, or says something else than it did.
    """
    command = [sys.executable, "-m", __name__, str(path), modality, str(memory)]
    known = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": known, "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Mistake(
            f"push.check_seconds must be enough to load {path} and to ask it, got {seconds:g}"
        ) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise Mistake(
            f"{path} must load and answer in a new process with {memory:,} bytes "
            f"(push.check_memory), got {lines[-1][:300]}"
        )


def ask(path: Path, modality: str) -> int:
    """Load it here, compare its golden vectors, and replay its warm-up requests: how many."""
    opening.check(path, modality)
    signatures = opening.open_signatures(path, modality)
    count = 0
    if (path / _WARMUP).is_file():
        for record in tf.data.TFRecordDataset(str(path / _WARMUP)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            given = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            tensors = {name: tf.constant(value) for name, value in given.items()}
            signatures[request.model_spec.signature_name](**tensors)
            count += 1
    return count


def _main(path: str, modality: str, memory: str) -> int:
    import_tensorflow()
    # What is private to it: TensorFlow maps far more than it ever takes.
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    try:
        ask(Path(path), modality)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        sys.stderr.write(f"\n{type(error).__name__}: {reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
