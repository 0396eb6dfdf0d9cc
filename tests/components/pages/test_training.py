"""The curves of a whole run, and the verdict for somebody who knows no figures."""

from __future__ import annotations

import re

import pytest

from components.pages import training
from components.tasks.table import TASKS


def history(count: int, best: int, asked: int, patience: int) -> dict[str, object]:
    stopping = {"epochs": asked, "patience": patience, "monitor": "val_loss"}
    return {"epochs": [{}] * count, "best_epoch": best, "stopping": stopping}


def test_patience_is_shown_only_where_it_ended_training() -> None:
    assert training.stretch("", history(7, 3, 10, 3), 20) == ("", 20, 26, 23, True)
    assert not training.stretch("", history(10, 6, 10, 3), 0).waited  # Its length was over.
    assert not training.stretch("", history(7, 5, 10, 3), 0).waited  # It was cut short.


@pytest.mark.parametrize("task", TASKS)
def test_every_main_figure_can_be_told_to_anybody(task: str) -> None:
    main = TASKS[task].figures[0]
    told = main.words.format(main.counted(0.954))
    assert re.search(r"\b(95 of 100|0\.954)\b", told)
    assert re.fullmatch(r"(91 to 98 of 100|0\.909 to 0\.978)", main.between(0.909, 0.978))
