"""Tables of examples, CSV and JSON Lines: their rows as records, and what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.modalities.table import MODALITIES
from models.mistakes import Mistake, nearest

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {**{name: name for name in SPLITS}, "val": "validation", "valid": "validation"}

READERS: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    ".csv": lambda text: _csv(text),
    ".jsonl": lambda text: [json.loads(line) for line in text.split("\n") if line.strip()],
}


def _csv(text: str) -> list[dict[str, Any]]:
    csv.field_size_limit(max(len(text), 1 << 17))  # What is too long is for the modality to say.
    return list(csv.DictReader(io.StringIO(text)))


@dataclass(frozen=True)
class Record:
    """One raw example, before anything is known of it. `raw` is None where `path` holds it."""

    name: str
    label: str
    split: str
    path: str = ""
    raw: bytes | None = None

    def read(self) -> bytes:
        """Its raw form; OSError where it cannot be read."""
        return Path(self.path).read_bytes() if self.raw is None else self.raw


def read_rows(table: Path, field: str, column: str) -> list[dict[str, Any]]:
    """The rows of a CSV or JSON Lines file, each with the column `column`.

    Args:
        field: that named the table, for errors.
    """
    try:
        # A row that is not UTF-8 keeps its bytes, and is quarantined for them: see `ingest`.
        content = table.read_text(encoding="utf-8", errors="surrogateescape")
        content = content.removeprefix("\ufeff")
        rows = READERS[table.suffix](content) if table.suffix in READERS else None
    except (json.JSONDecodeError, csv.Error) as error:
        raise Mistake(
            f"{field} must be readable as {table.suffix}, got {str(table)!r}: {error}"
        ) from error
    if rows is None:
        raise Mistake(f"{field} must be a folder, .csv or .jsonl, got {str(table)!r}")
    if not rows:
        raise Mistake(f"{field} must have rows, got {str(table)!r} with none")
    _check_has(table, rows, field, column)
    return rows


def read(table: Path, modality: str) -> Iterator[Record]:
    """The records of a CSV or JSON Lines file with the columns path (or text), label, split."""
    column, is_path = MODALITIES[modality].column, MODALITIES[modality].is_path
    rows = read_rows(table, "data.path", column)
    # An empty text is quarantined; a row without a path or a label is no row.
    for needed, may_be_empty in ((column, not is_path), ("label", False)):
        _check_column(table, rows, needed, may_be_empty=may_be_empty)
    if not is_path:
        _check_texts(table, [str(row[column]) for row in rows], column)
    labels = [str(row["label"]) for row in rows]
    if len(rows) > 2 and len(set(labels)) == len(rows):
        raise Mistake(
            f"data.path must repeat its labels, got {str(table)!r}, whose column 'label' is all "
            f"different ({len(rows)} rows)"
        )
    for number, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
        value, split = str(row[column]), str(row.get("split") or "").strip()
        if split and split not in SPLIT_NAMES:
            raise Mistake(
                f"data.path, column 'split', row {number} of {str(table)!r}, got {split!r}: "
                f"{nearest(split, SPLIT_NAMES)}"
            )
        yield Record(
            value if is_path else f"{table.name}:{number}",
            label.strip(),
            SPLIT_NAMES.get(split, ""),
            str(table.parent / value) if is_path else "",
            None if is_path else raw_text(value),
        )


def _check_has(table: Path, rows: list[Any], field: str, column: str) -> None:
    if isinstance(rows[0], dict) and column not in rows[0]:
        raise Mistake(
            f"{field} must have the column {column!r}, got {str(table)!r} with "
            f"{', '.join(map(repr, rows[0]))}"
        )


def _check_column(table: Path, rows: list[Any], needed: str, *, may_be_empty: bool) -> None:
    _check_has(table, rows, "data.path", needed)
    for number, row in enumerate(rows, start=1):
        value = row.get(needed) if isinstance(row, dict) else None
        empty = not str(value).strip() or "\0" in str(value)
        if value is None or (empty and not may_be_empty):
            raise Mistake(
                f"data.path must have a {needed!r} in every row, got row {number} of "
                f"{str(table)!r} with {row!r}"
            )
        if needed == "label" and not _is_utf8(str(value)):
            raise Mistake(
                f"data.path must have labels in UTF-8, got row {number} of {str(table)!r} with "
                f"{value!r}"
            )


def _check_texts(table: Path, texts: list[str], column: str) -> None:
    """That the column holds texts at all."""
    said = [text for text in texts if text.strip()]
    if not said:
        raise Mistake(
            f"data.path must have texts in its column {column!r}, got {str(table)!r}, where it is "
            f"empty in all {len(texts)} rows"
        )
    if all(_is_number(text) for text in said):
        raise Mistake(
            f"data.path must have texts in its column {column!r}, got {str(table)!r}, where all "
            f"are numbers, such as {said[0]!r}"
        )


def raw_text(text: str) -> bytes:
    """The bytes that were read; half a character, which JSON can name, becomes what is no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _is_utf8(text: str) -> bool:
    """Whether there is no half of a character in it, which also stands for a byte not read."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
