"""Tables of examples, CSV and JSON Lines: their rows as records, and what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.examples.walking import outside
from components.files import MOST_BYTES, parsed, read_regular
from components.modalities.table import MODALITIES
from components.tasks.protocol import Answer, Column
from components.tasks.table import TASKS
from models.mistakes import Mistake, nearest, printable

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {**{name: name for name in SPLITS}, "val": "validation", "valid": "validation"}

# A form's suffix → (text, columns that must be there) → rows.
READERS: dict[str, Callable[[str, Sequence[str]], list[dict[str, Any]]]] = {
    ".csv": lambda text, columns: _csv(text, columns),
    ".tsv": lambda text, columns: _csv(text, columns),
    ".jsonl": lambda text, _: [
        _parsed(line, number)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ],
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# As Python reads a file of text.
_NEW_LINES = re.compile("\r\n?")
# What stands between cells; spreadsheets of half of Europe write semicolons.
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Headings:
    """What tables call the columns that are no answers.

    Attributes:
        input: of the example, a path or a text; the modality's own where empty.
        split: of the split.
        slices: of what parts of the test examples are told apart by.
        group: of what keeps rows on one side of a split; empty for none.
        fold: of parts that are tested on one after another, …
        tested: … and which of them is tested on now; empty where there are no such parts.
    """

    input: str = ""
    split: str = "split"
    slices: tuple[str, ...] = ()
    group: str = ""
    fold: str = "fold"
    tested: str = ""


OUR_HEADINGS = Headings()


@dataclass(frozen=True)
class NoRow:
    """A line that is no row."""

    problem: str


def _parsed(line: str, number: int) -> Any:
    try:
        return parsed(line)
    except ValueError as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return NoRow(f"line {number} is no JSON: {why}")


def _csv(text: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows, by the delimiter that gives most of these columns, or else most columns.

    A spreadsheet may name it in a line of its own, `sep=;`, before the columns.
    """
    csv.field_size_limit(max(len(text), 1 << 17))  # What is too long is for the modality to say.
    if named := re.match(r"sep=(.)\r?\n", text):
        rest = io.StringIO(text[named.end() :])
        return list(csv.DictReader(rest, delimiter=named[1]))
    line = next(iter(io.StringIO(text)), "")

    def fit(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([line], delimiter=delimiter), [])
        return len({*names} & {*columns}), len(names)

    return list(csv.DictReader(io.StringIO(text), delimiter=max(_DELIMITERS, key=fit)))


@dataclass(frozen=True, slots=True)
class Record:
    """One raw example, before anything is known of it.

    Attributes:
        answers: one for each target.
        raw: None where `path` holds it.
        problem: why it cannot be used, where that is known already.
        cells: of the columns that parts are told apart by, in their order.
        group: of what it belongs to, such as a speaker; empty for nothing.
    """

    name: str
    answers: tuple[Answer, ...]
    split: str
    path: str = ""
    raw: bytes | None = None
    problem: str = ""
    cells: tuple[str, ...] = ()
    group: str = ""

    def read(self) -> bytes:
        """Its raw form; OSError or ValueError where it cannot be read."""
        if self.problem:
            raise ValueError(self.problem)
        return read_regular(Path(self.path), MOST_BYTES) if self.raw is None else self.raw


_UNPACK, _SAVE_AS = ": unpack it, and name the folder", ": save it as CSV"
_FOLDER = ": name the folder with the class folders"
_ADVICE = {
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"), _UNPACK),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".parquet", ".json"), _SAVE_AS),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".txt"), _FOLDER),
}


def read_rows(
    table: Path, field: str, column: str, others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of a CSV, TSV or JSON Lines file, each with the column `column`.

    Args:
        field: that named the table, for errors.
        others: further columns that it should have, which tell what stands between cells.
    """
    reader = READERS.get(table.suffix.lower())
    if reader:
        raw = read_regular(table)
        if raw.startswith(_UTF_16):
            raise Mistake(
                f"{field} must be in UTF-8, got {str(table)!r} in UTF-16: save it as UTF-8"
            )
        # A row that is not UTF-8 keeps its bytes, and is quarantined for them: see `ingest`.
        text = raw.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        try:
            rows = reader(_NEW_LINES.sub("\n", text), (column, *others))
        except csv.Error as error:
            raise Mistake(
                f"{field} must be readable as {table.suffix}, got {str(table)!r}: {error}"
            ) from error
    else:
        raise Mistake(
            f"{field} must be a folder, .csv, .tsv or .jsonl, got {str(table)!r}"
            + _ADVICE.get(table.suffix.lower(), "")
        )
    if not rows:
        raise Mistake(f"{field} must have rows, got {str(table)!r} with none")
    if all(isinstance(row, NoRow) for row in rows):
        first: Any = rows[0]
        raise Mistake(
            f"{field} must be readable as {table.suffix}, got {str(table)!r}, whose {first.problem}"
        )
    _check_has(table, rows, field, column)
    return rows


def read(
    table: Path,
    modality: str,
    columns: tuple[Column, ...],
    headings: Headings = OUR_HEADINGS,
    bound: Path | None = None,
) -> Iterator[Record]:
    """The records of a table.

    Args:
        columns: where the answers are. A cell that is no answer makes its row unusable.
        headings: where the rest is.
        bound: where the files that it names must be, resolved; anywhere where there is none.
    """
    kind = MODALITIES[modality].raw
    column, is_path = headings.input or kind.column, kind.is_path
    named = [name for each in columns for name in each.columns]
    if headings.split != OUR_HEADINGS.split:
        named = [*named, headings.split]
    all_rows = read_rows(table, "data.path", column, named)
    rows = [row for row in all_rows if not isinstance(row, NoRow)]
    # An empty text is quarantined; a row without a path is no row.
    _check_column(table, rows, column, may_be_empty=not is_path)
    for name in named:
        _check_has(table, rows, "data.path", name)
    for name in headings.slices:
        _check_has(table, rows, "data.slices", name)
    if headings.group:
        _check_has(table, rows, "data.group", headings.group)
    if headings.tested:
        _check_folds(table, rows, headings)
    if not is_path:
        _check_texts(table, [str(row[column]) for row in rows], column)
    for number, row in enumerate(all_rows, start=1):
        if isinstance(row, NoRow):
            none = (None,) * len(columns)
            yield Record(f"{table.name}:{number}", none, "", raw=b"", problem=row.problem)
            continue
        value, split = str(row[column]), str(row.get(headings.split) or "").strip()
        if split and split not in SPLIT_NAMES:
            raise Mistake(
                f"data.path, column {headings.split!r}, row {number} of {str(table)!r}, got "
                f"{split!r}: {nearest(split, SPLIT_NAMES)}"
            )
        answers, problem = _answers(table, number, row, columns)
        path = str(table.parent / value) if is_path else ""
        yield Record(
            printable(value) if is_path else f"{table.name}:{number}",
            answers,
            _tested(row, headings) if headings.tested else SPLIT_NAMES.get(split, ""),
            path,
            None if is_path else raw_text(value),
            problem or (outside(path, bound) if is_path else ""),
            tuple(_plain(row.get(name)) for name in headings.slices),
            _plain(row.get(headings.group)) if headings.group else "",
        )


def _check_folds(table: Path, rows: list[Any], headings: Headings) -> None:
    _check_has(table, rows, "data.fold", headings.fold)
    if any(row.get(headings.split) for row in rows):
        raise Mistake(
            f"data.fold must be left out where there is a column {headings.split!r}, got "
            f"{headings.tested!r} for {str(table)!r}"
        )
    folds = sorted({_plain(row.get(headings.fold)) for row in rows})
    if headings.tested not in folds or len(folds) < 2:
        raise Mistake(
            f"data.fold must be one of two or more in the column {headings.fold!r}, got "
            f"{headings.tested!r} for {str(table)!r} with {', '.join(map(repr, folds[:20]))}"
        )


def _tested(row: dict[str, Any], headings: Headings) -> str:
    """The split that a fold puts its rows in: all that is not tested on is to be trained on."""
    return "test" if _plain(row.get(headings.fold)) == headings.tested else ""


def _plain(cell: Any) -> str:
    """A cell as text; what is no UTF-8 in it is escaped."""
    text = "" if cell is None else str(cell).strip()
    return text.encode("utf-8", "backslashreplace").decode()


def _answers(
    table: Path, number: int, row: dict[str, Any], columns: tuple[Column, ...]
) -> tuple[tuple[Answer, ...], str]:
    """The answers in a row, and what is wrong with them."""
    found: list[Answer] = []
    problem = ""
    for column in columns:
        cells = {name: row.get(name) for name in column.columns}
        if unread := [cell for cell in cells.values() if not _is_utf8(str(cell))]:
            raise Mistake(
                f"data.path must have labels in UTF-8, got row {number} of {str(table)!r} with "
                f"{unread[0]!r}"
            )
        try:
            value = cells if len(cells) > 1 else next(iter(cells.values()))
            found.append(TASKS[column.task].parse(value, column))
        except ValueError as error:
            found.append(None)
            problem = problem or f"row {number} {error}"
    if not problem and all(answer is None for answer in found):
        named = ", ".join(repr(name) for column in columns for name in column.columns)
        if len(columns) == 1 and TASKS[columns[0].task].required:
            raise Mistake(
                f"data.path must have a {named} in every row, got row {number} of {str(table)!r} "
                f"with {row!r}"
            )
        problem = f"row {number} has no answer in {named}"
    return tuple(found), problem


def _check_has(table: Path, rows: list[Any], field: str, column: str) -> None:
    if any(isinstance(row, dict) and column in row for row in rows):
        return
    there = [str(name) for name in rows[0]] if isinstance(rows[0], dict) else []
    raise Mistake(
        f"{field} must have the column {column!r}, got {str(table)!r} with "
        f"{', '.join(map(repr, there))}{_other_column(column, there)}"
    )


def _other_column(column: str, there: list[str]) -> str:
    """What to say where the column has another name, or the modality is another one."""
    if same := [name for name in there if name.lower() == column.lower()]:
        return f": say --data.input-column {same[0]}, or --data.columns, if that is it"
    kinds = {name: row.raw.column for name, row in MODALITIES.items()}
    if column not in kinds.values():
        return f": {nearest(column, there)}"
    for name, own in kinds.items():
        if own in there:
            return f": it has {MODALITIES[name].raw.plural}, which --data.modality {name} reads"
    return ": name yours with --data.input-column, and that of the answers with --data.columns"


def _check_column(table: Path, rows: list[Any], needed: str, *, may_be_empty: bool) -> None:
    for number, row in enumerate(rows, start=1):
        value = row.get(needed) if isinstance(row, dict) else None
        empty = not str(value).strip() or "\0" in str(value)
        if value is None or (empty and not may_be_empty):
            raise Mistake(
                f"data.path must have a {needed!r} in every row, got row {number} of "
                f"{str(table)!r} with {row!r}"
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
