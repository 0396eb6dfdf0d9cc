"""The test examples that a model is most wrong about, kept as they go by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.files import read_json, write_json
from components.tasks.protocol import Target
from components.tasks.table import task_of

# So many are kept of each target.
COUNT = 12
FILES = _ROWS, _RAWS = "worst.json", "worst.npz"
# So many examples are looked at together, and no more than this many bytes.
_AT_ONCE, _AT_ONCE_BYTES = 1024, 16 << 20

# A row of predictions, and the example's raw form.
Told = tuple[dict[str, Any], bytes]


class Worst:
    """The worst mistakes of each target so far: nothing is read a second time to show them."""

    def __init__(self, targets: Sequence[Target], places: Sequence[int | None]) -> None:
        """
        Args:
            targets: those asked; the rows' answers are in their order.
            places: which of what is said of an example is about each; None where nothing is.
        """
        self._targets, self._places = targets, places
        self._kept: list[list[Told]] = [[] for _ in targets]
        self._words: list[list[list[str]]] = [[] for _ in targets]
        self._waiting: list[Told] = []
        self._bytes = 0

    def add(self, told: Sequence[Told]) -> None:
        """Look at some more of what was said."""
        self._waiting += told
        self._bytes += sum(len(raw) for _, raw in told)
        if len(self._waiting) >= _AT_ONCE or self._bytes > _AT_ONCE_BYTES:
            self._look()

    def _look(self) -> None:
        for number, (target, at) in enumerate(zip(self._targets, self._places, strict=True)):
            if at is None:
                continue
            some = [each for each in self._waiting if each[0]["answers"][number] is not None]
            # In an order that does not depend on what was asked together.
            some = sorted([*self._kept[number], *some], key=lambda e: (e[0]["id"], e[0]["name"]))
            worst = task_of(target).mistakes(
                [row["answers"][number] for row, _ in some],
                [row["said"][at] for row, _ in some],
                target.space,
            )[:COUNT]
            self._kept[number] = [some[position] for position, *_ in worst]
            self._words[number] = [words for _, *words in worst]
        self._waiting, self._bytes = [], 0

    def write(self, directory: Path) -> None:
        """`worst.json`: by the target's name, rows of id, name, truth, said, how; and the bytes."""
        self._look()
        rows: dict[str, Any] = {}
        raws: dict[str, np.ndarray] = {}
        for target, kept, words in zip(self._targets, self._kept, self._words, strict=True):
            rows[target.name] = [
                {"id": row["id"], "name": row["name"], "truth": truth, "said": said, "how": how}
                for (row, _), (truth, said, how) in zip(kept, words, strict=True)
            ]
            raws |= {row["id"]: np.frombuffer(raw, np.uint8) for row, raw in kept}
        write_json(directory / _ROWS, rows)
        np.savez(directory / _RAWS, **raws)  # type: ignore[arg-type]


def read(directory: Path, targets: Sequence[Target]) -> Iterator[list[Told]]:
    """For each target: (id, name, truth, said, how; raw form) of its worst mistakes."""
    rows = read_json(directory / _ROWS)
    with np.load(directory / _RAWS) as raws:
        for target in targets:
            yield [(row, raws[row["id"]].tobytes()) for row in rows[target.name]]
