"""Raw examples at one place, as a value that a run is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from components.examples.hashing import READ_ALL, Hashes
from components.examples.tables import OUR_HEADINGS, Headings, Record
from components.section import Digested
from components.tasks.protocol import Column, Target
from models.mistakes import Mistake


@dataclass(frozen=True)
class Wish:
    """What is looked for, and where.

    Attributes:
        location: as the user wrote it.
        columns: where the answers are, in a table or a TFDS dataset.
        headings: where the rest is, in a table.
        download: prepare a TFDS dataset that is not there yet.
        hashes: of its files.
        root: where its files may be, wherever links lead; empty for the folder of its own.
    """

    location: str
    modality: str
    columns: tuple[Column, ...] = (Column(),)
    headings: Headings = OUR_HEADINGS
    download: bool = True
    hashes: Hashes = READ_ALL
    root: str = ""

    def bound(self, own: Path) -> Path:
        """`root`, resolved.

        Args:
            own: the folder itself, or that of the table.
        """
        return Path(self.root or own).resolve()


@dataclass(frozen=True)
class Source(Digested):
    """Raw examples at one place.

    Attributes:
        location: as the user wrote it.
        digest: over everything that decides what the examples are.
        columns: where the answers are, at that place.
        headings: where the rest is.
        root: see `Wish`.
        ignored: what else is there, and why where that does not show.
        targets: what is asked, and which answers there are.
        splits: how many records are in each split; "" counts those not assigned to any.
        listing: the records, where they are files or rows of tables. It is not sent to other
            machines: they list the place again, and stop if they find something else.
    """

    location: str
    modality: str
    digest: str
    columns: tuple[Column, ...]
    targets: tuple[Target, ...]
    splits: dict[str, int]
    headings: Headings = OUR_HEADINGS
    root: str = ""
    ignored: tuple[str, ...] = ()
    listing: tuple[Record, ...] | None = field(default=None, repr=False, compare=False)


def check_is_no_table(wish: Wish) -> None:
    """A `Mistake` where columns are named that there are not."""
    given = {"slices": ", ".join(wish.headings.slices), "group": wish.headings.group}
    given |= {"fold": wish.headings.fold if wish.headings.tested else ""}
    for key, named in given.items():
        if named:
            raise Mistake(
                f"data.{key} must name columns of a table, .csv or .jsonl, got {named!r} for "
                f"{wish.location!r}, which is none"
            )


def check_is_one_label(wish: Wish) -> None:
    """Where nothing but one label is said of each example."""
    location, columns = wish.location, wish.columns
    check_is_no_table(wish)
    if columns == (Column(),):
        return
    asked = columns[0].task if columns[0].task != "one_label" else "columns or a separator"
    raise Mistake(
        f"data.path must be a table, .csv or .jsonl, where more than one label is asked for, got "
        f"{location!r}, which has one for each example, and {asked}"
    )
