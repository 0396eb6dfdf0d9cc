"""YAMNet's published weights, as a file that is there or is downloaded."""

from __future__ import annotations

from pathlib import Path

from etils import epy

from components.modalities.published import home
from models.mistakes import Mistake
from models.quiet import import_tensorflow

with epy.lazy_imports():
    import keras

# The published file, and the same with BatchNormalization folded into the convolutions.
_FILES = ("yamnet.h5", "yamnet_folded.npz")
_URL = "https://storage.googleapis.com/audioset/yamnet.h5"


def yamnet_here() -> Path | None:
    """Where the weights are; None where they would have to be downloaded."""
    return next((home() / name for name in _FILES if (home() / name).is_file()), None)


def yamnet_file() -> Path:
    """The weights, from where they are published; a `Mistake` where they cannot be had."""
    if here := yamnet_here():
        return here
    import_tensorflow()
    try:
        return Path(keras.utils.get_file(_FILES[0], _URL, cache_subdir="models"))
    except Exception as error:  # Whatever the network makes Keras raise.
        reason = str(error).strip().splitlines()[0][:200]
        raise Mistake(
            f"model.weights must be within reach, got those of YAMNet ({reason}): put {_FILES[0]} "
            f"into $KERAS_HOME/models (now {home()}), which {_URL} has"
        ) from error
