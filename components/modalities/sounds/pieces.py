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


# What streams write where the length is not known is more.
_MOST_FRAMES = 1 << 40


def pieces(
    path: Path, contract: Mapping[str, Any], every: float
) -> tuple[float, Iterator[tuple[float, bytes]]]:
    """The length of the recording in seconds, and its pieces: (seconds to its middle, raw form).

    Each is as long as the model hears, and begins `every` seconds after the one before; the last
    one ends with the recording, or after it, unless there is more between two than is heard. They
    are read as they are asked for, so that memory does not grow with the recording. What is not
    served (FLAC, Ogg, MP3 …) is read as well.

    Args:
        contract: the model's own.
    """
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError) as error:  # Of one without a header.
        raise _unreadable(path, error) from error
    heard = round(contract["seconds"] * file.samplerate)
    if not file.frames:
        file.close()
        raise Mistake(f"INPUT must be a recording with some samples, got {str(path)!r}")
    if file.frames > _MOST_FRAMES:
        file.close()
        raise Mistake(f"INPUT must be a recording whose header says how long, got {str(path)!r}")
    steps = (file.frames - heard) / (every * file.samplerate)
    # What is between pieces that are far apart is not heard, and so neither is what is after them.
    count = 1 + max(0, math.ceil(steps) if every * file.samplerate <= heard else math.floor(steps))
    return file.frames / file.samplerate, _pieces(file, count, heard, every)


def _unreadable(path: Path, error: Exception) -> Mistake:
    reason = str(error).rpartition(": ")[2]
    return Mistake(f"INPUT must be a recording, got {str(path)!r}: {reason}")


def _pieces(file: Any, count: int, heard: int, every: float) -> Iterator[tuple[float, bytes]]:
    with file:
        for number in range(count):
            start = round(number * every * file.samplerate)
            try:
                file.seek(min(start, file.frames - 1))
                samples = file.read(heard, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise _unreadable(Path(file.name), error) from error
            buffer = io.BytesIO()
            # As floats, which are served: nothing is rounded, and nothing clipped.
            soundfile.write(buffer, samples, file.samplerate, format="WAV", subtype="FLOAT")
            yield (start + heard / 2) / file.samplerate, buffer.getvalue()
