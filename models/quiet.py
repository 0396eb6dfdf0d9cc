"""Import TensorFlow without what it writes to stderr before anybody can tell it not to."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

_gpus = True


def hide_gpus() -> None:
    """No GPU for TensorFlow in this process: it would take all the memory that another needs."""
    global _gpus
    _gpus = False


def import_tensorflow() -> None:
    """Import TensorFlow and Keras with file descriptor 2 closed to their greetings.

    A signal that comes meanwhile waits until it is done, some seconds.

    The C++ library logs before its log level is read; a real error raises, and is not lost.
    """
    if "tensorflow" not in sys.modules:
        _import()
    if not _gpus:
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")


def forget_kernels() -> None:
    """Give back what TensorFlow keeps for networks that are gone, where it is imported.

    It prepares each operation once and for all, and one that makes a variable again for each name,
    of which Keras thinks of new ones: half a MiB a network, for ever. `keras.utils.clear_session`
    does this too, and would forget whatever else the process has told Keras.
    """
    if "tensorflow" in sys.modules:
        from tensorflow.python.eager import context

        context.context().clear_kernel_cache()


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """What a signal raises while libraries in C++ begin is lost, or ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's.
        return
    came: list[int] = []
    signals = (signal.SIGALRM, signal.SIGINT, signal.SIGTERM)
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            if handler is not None:  # One that was not set from Python.
                signal.signal(each, handler)
    for number in came:
        signal.raise_signal(number)


def _import() -> None:
    if not os.access(Path.home(), os.W_OK):
        # In a container that may write nothing but the store: Keras imports Matplotlib, which
        # would make a folder of its own there, and complain when that is gone at the end.
        os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    # Half a million objects that live as long as the process: there is nothing to collect.
    collects = gc.isenabled()
    gc.disable()
    try:
        with _signals_wait(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # Looking for a GPU that is not there logs, too.
    finally:
        gc.freeze()
        if collects:
            gc.enable()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
    for name in ("tensorflow", "absl", "apache_beam", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)
