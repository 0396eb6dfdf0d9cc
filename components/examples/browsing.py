"""Single examples of a dataset, found without reading the others."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Of a TFRecord file, around each record: its length, and what proves that length; what proves the
# record. https://www.tensorflow.org/tutorials/load_data/tfrecord
_BEFORE, _AFTER = 12, 4
# The fields that are walked through: Example.features, Features.feature, the key and the value of
# an entry, Feature.bytes_list, BytesList.value; each is the first but for that value.
_FIRST, _VALUE = 1, 2
_OF_LENGTH = 2


class Place(NamedTuple):
    """Where the bytes of an example are."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True)
class Finder:
    """The raw bytes of each example of a TFDS dataset.

    Attributes:
        places: the id of an example → where its bytes are.
    """

    places: dict[str, Place]

    @classmethod
    def of(cls, dataset: Path, feature: str) -> Finder:
        """Look through the files of a dataset; of a large record, few pages are read.

        Args:
            feature: the name of what is to be found.
        """
        places: dict[str, Place] = {}
        for path in sorted(dataset.glob("*.tfrecord*")):
            if path.stat().st_size == 0:
                continue
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                for begin, end in _records(m):
                    found = dict(_bytes_features(m, begin, end))
                    if "id" in found and feature in found:
                        at, length = found["id"]
                        places[m[at : at + length].decode()] = Place(path, *found[feature])
        return cls(places)

    def raw(self, identity: str) -> bytes | None:
        """The bytes of an example; None where there is no such id."""
        if (place := self.places.get(identity)) is None:
            return None
        with place.path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.length)


def _records(buffer: mmap.mmap) -> Iterator[tuple[int, int]]:
    at, size = 0, len(buffer)
    while at + _BEFORE <= size:
        length = int.from_bytes(buffer[at : at + 8], "little")
        begin = at + _BEFORE
        if begin + length > size:
            return  # It is cut off.
        yield begin, begin + length
        at = begin + length + _AFTER


def _bytes_features(
    buffer: mmap.mmap, begin: int, end: int
) -> Iterator[tuple[str, tuple[int, int]]]:
    """The name of each feature that has bytes → where the first of them are."""
    for features, *whole in _fields(buffer, begin, end):
        if features != _FIRST:
            continue
        for _, *entry in _fields(buffer, *whole):
            parts = {number: (start, stop) for number, start, stop in _fields(buffer, *entry)}
            if _FIRST not in parts or _VALUE not in parts:
                continue
            for kind, *values in _fields(buffer, *parts[_VALUE]):
                if kind == _FIRST and (found := _fields(buffer, *values)):
                    _, start, stop = found[0]
                    yield buffer[slice(*parts[_FIRST])].decode(), (start, stop - start)
                    break


def _fields(buffer: mmap.mmap, at: int, end: int) -> list[tuple[int, int, int]]:
    """The number of each field that has a length, in a message at so many bytes; where it is."""
    found = []
    while at < end:
        tag, at = _varint(buffer, at)
        if tag & 7 != _OF_LENGTH:
            break  # Numbers: there is nothing in them.
        length, at = _varint(buffer, at)
        found.append((tag >> 3, at, at + length))
        at += length
    return found


def _varint(buffer: mmap.mmap, at: int) -> tuple[int, int]:
    byte = buffer[at]
    if byte < 0x80:
        return byte, at + 1
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
