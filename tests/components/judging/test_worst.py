"""The worst mistakes are the same, however the examples came."""

import random
from pathlib import Path
from typing import Any

import pytest

from components.judging import worst
from components.judging.worst import COUNT, Told, Worst
from components.tasks.protocol import Space, Target

TARGET = Target(name="", task="one_label", space=Space(labels=("ant", "bee")))


def test_the_order_of_examples_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many are as wrong as each other: those of the first ids are taken."""
    monkeypatch.setattr(worst, "_AT_ONCE", 10)
    rows: list[Told] = []
    for number in range(60):
        sure = 0.9 if number % 3 else 0.6 + 0.001 * number
        said = [{"label": "bee", "probabilities": [1 - sure, sure]}]
        answer = None if number == 7 else "bee" if number % 5 == 0 else "ant"
        row: dict[str, Any] = {
            "id": f"{number:04}",
            "name": f"{number}.jpg",
            "answers": [answer],
            "said": said,
        }
        rows.append((row, f"bytes {number}".encode()))
    found = []
    for seed, size in ((0, 60), (1, 7), (2, 1)):
        shuffled = random.Random(seed).sample(rows, len(rows))
        kept = Worst([TARGET], [0])
        for start in range(0, len(rows), size):
            kept.add(shuffled[start : start + size])
        kept.write(tmp_path)
        [told] = worst.read(tmp_path, [TARGET])
        found.append(told)
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == COUNT
    row, raw = found[0][0]
    assert (row["truth"], row["said"], row["how"]) == ("ant", "bee", "90.0 %")
    assert raw == f"bytes {int(row['id'])}".encode()


def test_nothing_wrong_is_nothing_to_show(tmp_path: Path) -> None:
    Worst([TARGET], [0]).write(tmp_path)
    assert list(worst.read(tmp_path, [TARGET])) == [[]]
