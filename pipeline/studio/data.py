"""The examples of a run, as the studio shows them: found, shown, and corrected."""

from __future__ import annotations

import csv
import functools
import io
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.artifacts import SUSPECTS, Examples, Suspects
from components.examples.browsing import Finder
from components.examples.patching import ACTIONS
from components.examples.placing import INDEX
from components.files import read_jsonl
from components.judging import slices
from components.modalities.table import MODALITIES
from models.mistakes import Mistake
from pipeline.records import RunRecord
from pipeline.store import Store
from pipeline.studio.shelf import Missing

# Datasets that are kept in memory, and rows that are given at once.
_KEPT, _MOST_ROWS = 2, 500
# What bytes begin with → what a browser is told that they are; all else is bytes to it.
_KINDS = {
    b"\x89PNG\r\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
PATCHES = "patches"


@dataclass(frozen=True)
class Query:
    """Which examples are looked for: all that are of a split, with a label, of a part, in whose
    name are all words. What is empty is not asked.
    """

    split: str = ""
    label: str = ""
    part: str = ""
    words: str = ""

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether an example is such a one, but for its part."""
        name = row["name"].lower()
        return (
            (not self.split or row["split"] == self.split)
            and (not self.label or self.label in _labels(row))
            and all(word in name for word in self.words.lower().split())
        )


@dataclass
class _Dataset:
    examples: Examples
    rows: list[dict[str, Any]]
    lock: threading.Lock = field(default_factory=threading.Lock)
    last: tuple[Query, list[dict[str, Any]]] | None = None

    def find(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a query; who scrolls asks the same one again."""
        last = self.last
        if last is None or last[0] != query:
            inside = self.parts.get(query.part, ()) if query.part else range(len(self.rows))
            last = query, [row for row in (self.rows[at] for at in inside) if query.fits(row)]
            self.last = last
        return last[1]

    @functools.cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many there are of each split, label and part."""
        return {
            "splits": dict(Counter(row["split"] for row in self.rows)),
            "labels": dict(Counter(each for row in self.rows for each in _labels(row))),
            "parts": {name: len(inside) for name, inside in self.parts.items()},
        }

    @functools.cached_property
    def finder(self) -> Finder:
        """Where their bytes are."""
        return Finder.of(self.examples.dataset, self.examples.modality)

    @functools.cached_property
    def parts(self) -> dict[str, list[int]]:
        """`SLICE: PART` → the rows in it: parts that a report judges; see `judging.slices`."""
        examples = self.examples
        names = (*MODALITIES[examples.modality].raw.slices, *examples.slices)
        facts = [
            row["facts"] | dict(zip(examples.slices, row.get("cells", ()), strict=False))
            for row in self.rows
        ]
        return {
            f"{title}: {part}": inside.tolist()
            for name in names
            for title, part, inside in slices.parts(name, [row.get(name) for row in facts])
        }


class Data:
    """The examples of the runs of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, _Dataset] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, record: RunRecord, query: Query, begin: int, count: int) -> dict[str, Any]:
        """`count` of the examples that are looked for, from the one at `begin` on."""
        dataset = self._dataset(record)
        found = dataset.find(query)
        count = min(count, _MOST_ROWS)
        return {
            "modality": dataset.examples.modality,
            "total": len(found),
            **dataset.counts,
            "rows": [_shown(row) for row in found[begin : begin + count]],
        }

    def trained_on(self, record: RunRecord) -> list[dict[str, Any]]:
        """The rows of the training examples, in their order."""
        return [_shown(row) for row in self._dataset(record).rows if row["split"] == "train"]

    def raw(self, record: RunRecord, identity: str) -> tuple[bytes, str]:
        """The bytes of an example, and what kind they are.

        Raises:
            Missing: there is no such example.
        """
        dataset = self._dataset(record)
        with dataset.lock:  # Pages ask for many at once.
            finder = dataset.finder
        raw = finder.raw(identity)
        if raw is None:
            raise Missing(f"there is no example {identity!r}")
        return raw, _kind(raw, dataset.examples.modality)

    def quarantined(self, record: RunRecord) -> list[dict[str, Any]]:
        """Those that are set aside, and why."""
        path = self._dataset(record).examples.directory / "quarantine.jsonl"
        return [
            {key: row.get(key) for key in ("name", "answers", "reason", "code")}
            for row in read_jsonl(path)
        ]

    def suspects(self, record: RunRecord) -> list[dict[str, str]]:
        """Labels that are in doubt, the most doubtful first."""
        found = self._artifact(record, "suspect", Suspects)
        with (found.directory / SUSPECTS).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def patch(self, record: RunRecord, actions: Sequence[Mapping[str, str]]) -> str:
        """Write what is to be done with examples, to be given to a run; the path.

        Args:
            actions: `id`, `action` and, to relabel, `suggested` and `target` of each.

        Raises:
            Mistake: one of them makes no sense.
        """
        known = {row["id"] for row in self._dataset(record).rows}
        written = io.StringIO()
        writer = csv.DictWriter(written, ("id", "target", "suggested", "action"))
        writer.writeheader()
        for each in actions:
            row = {name: str(each.get(name, "")) for name in writer.fieldnames}
            if row["id"] not in known:
                raise Mistake(f"id must be that of an example, got {row['id']!r}")
            if row["action"] not in ACTIONS:
                raise Mistake(f"action must be keep, drop or relabel, got {row['action']!r}")
            if row["action"] == "relabel" and not row["suggested"]:
                raise Mistake("suggested must be given to relabel")
            writer.writerow(row)
        # Not with the events of the run, which are pruned some day.
        path = self._store.root / PATCHES / f"{record.run_id}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(written.getvalue(), encoding="utf-8")
        return str(path)

    def _dataset(self, record: RunRecord) -> _Dataset:
        examples = self._artifact(record, "ingest", Examples)
        with self._lock:
            dataset = self._known.pop(examples.ref, None)
            if dataset is None:
                rows = list(read_jsonl(examples.directory / INDEX))
                dataset = _Dataset(examples, rows)
            self._known[examples.ref] = dataset
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return dataset

    def _artifact(self, record: RunRecord, stage: str, kind: type[Any]) -> Any:
        refs = {each["name"]: each["artifact"] for each in record.stages}
        found = self._store.load(kind, refs[stage]) if stage in refs else None
        if found is None:
            raise Missing(f"{record.run_id} has nothing of {stage}")
        return found


def _labels(row: Mapping[str, Any]) -> list[str]:
    """Answers that are words; of numbers there are none."""
    return [
        label
        for answer in row["answers"]
        for label in (answer if isinstance(answer, list) else [answer])
        if isinstance(label, str)
    ]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row.get(key) for key in ("id", "name", "split", "answers", "facts")}


def _kind(raw: bytes, modality: str) -> str:
    if raw[:4] == b"RIFF":
        return _RIFF.get(raw[8:12], "application/octet-stream")
    for beginning, kind in _KINDS.items():
        if raw.startswith(beginning):
            return kind
    return "text/plain; charset=utf-8" if modality == "text" else "application/octet-stream"
