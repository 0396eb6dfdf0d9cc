"""Import TensorFlow without what it writes to stderr before anybody can tell it not to."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def import_tensorflow(*, gpus: bool = True) -> None:
    """Import TensorFlow and Keras with file descriptor 2 closed to their greetings.

    The C++ library logs before its log level is read; a real error raises, and is not lost.

    Args:
        gpus: let TensorFlow take them, all of their memory, when it first computes.
    """
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # Looking for a GPU that is not there logs, too.
            if not gpus:
                tf.config.set_visible_devices([], "GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
    for name in ("tensorflow", "absl", "apache_beam", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)
