"""A long recording in pieces that a model can be asked about, one after another."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from models.mistakes import Mistake

with epy.lazy_imports():
    import soundfile


def pieces(
    path: Path, contract: Mapping[str, Any], every: float
) -> tuple[float, Iterator[tuple[float, bytes]]]:
    """The length of the recording in seconds, and its pieces: (seconds to its middle, raw form).

    Each is as long as the model hears, and begins `every` seconds after the one before; the last
    one ends with the recording, or after it. They are read as they are asked for, so that memory
    does not grow with the recording. What is not served (FLAC, Ogg, MP3 …) is read as well.

    Args:
        contract: the model's own.
    """
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        reason = str(error).rpartition(": ")[2]
        raise Mistake(f"INPUT must be a recording, got {str(path)!r}: {reason}") from error
    heard = round(contract["seconds"] * file.samplerate)
    if not file.frames:
        file.close()
        raise Mistake(f"INPUT must be a recording with some samples, got {str(path)!r}")
    count = 1 + max(0, math.ceil((file.frames - heard) / (every * file.samplerate)))
    return file.frames / file.samplerate, _pieces(file, count, heard, every)


def _pieces(file: Any, count: int, heard: int, every: float) -> Iterator[tuple[float, bytes]]:
    with file:
        for number in range(count):
            start = round(number * every * file.samplerate)
            file.seek(min(start, file.frames - 1))
            samples = file.read(heard, dtype="float32", always_2d=True)
            buffer = io.BytesIO()
            # As floats, which are served: nothing is rounded, and nothing clipped.
            soundfile.write(buffer, samples, file.samplerate, format="WAV", subtype="FLOAT")
            yield (start + heard / 2) / file.samplerate, buffer.getvalue()
