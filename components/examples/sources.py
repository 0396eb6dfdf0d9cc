"""Where raw examples come from: each kind of source is a row of `KINDS`.

A source is resolved before the flow: it is listed and its bytes are hashed, so that a changed
file is noticed whatever its size and mtime say (see `hashing`), and passed to `ingest` as a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from etils import epy

from components.examples import digits, in_tfds, on_disk
from components.examples.hashing import READ_ALL, Hashes
from components.examples.source import Source, Wish
from components.examples.tables import OUR_HEADINGS, Headings, Record
from components.tasks.protocol import Column
from models.mistakes import UNSEEN, Mistake

with epy.lazy_imports():
    import apache_beam as beam


def find_source(
    location: str,
    *,
    modality: str,
    columns: tuple[Column, ...] = (Column(),),
    headings: Headings = OUR_HEADINGS,
    download: bool = True,
    hashes: Hashes = READ_ALL,
    root: str = "",
) -> Source:
    """List and hash the examples at `location`, see `Wish`; a `Mistake` says what is wrong."""
    if not location:
        raise Mistake(
            "data.path must name labelled examples, got nothing: name them behind the recipe, "
            "run RECIPE PATH"
        )
    if UNSEEN.search(location):
        raise Mistake(f"data.path must be UTF-8 without control characters, got {location!r}")
    if root and not Path(root).is_dir():
        raise Mistake(f"data.root must be a folder, got {root!r}")
    wish = Wish(location, modality, columns, headings, download, hashes, root)
    for kind in KINDS:
        if kind.matches(location):
            return _with_labels_of_a_line(kind.find(wish))
    if "://" in location:
        raise Mistake(
            f"data.path must be on a disk of this machine, got {location!r}: download it, or "
            f"mount the bucket"
        )
    near = [path.name for path in Path(location).parent.glob("*") if path.name != location]
    close = get_close_matches(Path(location).name, near, n=1)
    hint = f": did you mean {Path(location).parent / close[0]}?" if close else ""
    raise Mistake(f"data.path must exist, got {location!r}{hint}")


def _with_labels_of_a_line(source: Source) -> Source:
    """It stands in files of a label a line, which a server's clients read."""
    for target in source.targets:
        for label in target.space.labels:
            if UNSEEN.search(label):
                raise Mistake(
                    f"data.path must have labels without line breaks and control characters, got "
                    f"{label!r} in {source.location!r}"
                )
    return source


def is_place(location: str) -> bool:
    """Whether it is a folder or a file, not something that a package or a hub has."""
    return not any(kind.matches(location) for kind in KINDS[:2])


def iterate(source: Source) -> Iterator[Record]:
    """The records of `source`, always in the same order."""
    return _kind(source).iterate(source)


def records(source: Source, pipeline: Any) -> Any:
    """A Beam pipeline → its PCollection of the `Record`s of `source`."""
    kind = _kind(source)
    if kind.records:
        return kind.records(source, pipeline)
    return pipeline | "List" >> beam.Create(list(kind.iterate(source)))


def listed(source: Source) -> Source:
    """The source with its listing, where its kind has one: it need not be listed again."""
    if source.listing is not None or not is_place(source.location):
        return source
    again = find_source(
        source.location,
        modality=source.modality,
        columns=source.columns,
        headings=source.headings,
        root=source.root,
    )
    if again.digest != source.digest:
        raise Mistake(
            f"data.path must not change while it is read, got {source.location!r}, which is "
            f"not what it was when the run began"
        )
    return again


def _kind(source: Source) -> Kind:
    return next(kind for kind in KINDS if kind.matches(source.location))


def _listed(source: Source) -> Iterator[Record]:
    """Files and rows of tables, which were listed to find out their digest."""
    yield from listed(source).listing or ()


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        matches: whether a location is of this kind.
        find: what is looked for → the source there.
        iterate: see `iterate`.
        records: see `records`; where Beam's workers can each read a part.
    """

    matches: Callable[[str], bool]
    find: Callable[[Wish], Source]
    iterate: Callable[[Source], Iterator[Record]]
    records: Callable[[Source, Any], Any] | None = None


# The first whose `matches` holds.
KINDS = (
    Kind(lambda location: location == "digits", digits.find, digits.iterate),
    Kind(
        lambda location: location.startswith(in_tfds.TFDS),
        in_tfds.find,
        in_tfds.iterate,
        in_tfds.records,
    ),
    Kind(lambda location: Path(location).is_dir(), on_disk.find_folder, _listed),
    Kind(lambda location: Path(location).is_file(), on_disk.find_table, _listed),
)
