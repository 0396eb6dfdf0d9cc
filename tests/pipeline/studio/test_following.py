"""What a file of events comes to."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.events import EVENTS
from pipeline.studio.following import Followed, Phase, new_lines, sparkline
from tests.pipeline.studio.stores import epoch


def test_a_line_that_is_cut_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_text('{"a": 1}\n{"b"')
    assert new_lines(path, 0) == ([(9, '{"a": 1}')], 9)
    with path.open("a") as file:
        file.write(": 2}\n")
    assert new_lines(path, 9) == ([(18, '{"b": 2}')], 18)
    assert new_lines(path, 9, most=2) == ([(18, '{"b": 2}')], 18)


def test_lines_of_other_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_text('nonsense\n[]\n{}\n{"event": "epoch"}\n' + epoch(0, 0.5))
    followed = Followed()
    followed.read(path)
    assert next(iter(followed.phases.values())).figures["loss"] == [0.5]


def test_epochs_that_are_told_again_count_once(tmp_path: Path) -> None:
    """Whoever goes on after a stop tells of those before it."""
    phase = Phase("train_head", "train_head")
    for number in (0, 1, 2, 1, 2, 3):
        phase.add_epoch({"epoch": number, "figures": {"loss": number}, "updates": {}})
    phase.add_epoch({"epoch": 4, "figures": {"other": 1.0}, "updates": {"head": None}})
    assert phase.epochs == [0, 1, 2, 3, 4]
    assert phase.figures == {"loss": [0, 1, 2, 3, None], "other": [None] * 4 + [1.0]}


def test_steps_of_a_week_stay_few(tmp_path: Path) -> None:
    phase = Phase("train_head", "train_head")
    for step in range(1, 100_001):
        phase.add_steps({"done": step, "of": 10, "loss": 1.0 if step <= 50_000 else 0.0})
    assert len(phase.steps) == len(phase.losses) <= 4000
    assert phase.steps == sorted(phase.steps)
    assert phase.steps[-1] > 99_900
    assert sum(loss == 1.0 for loss in phase.losses) == len(phase.losses) // 2


def test_a_sparkline_is_of_the_models_own_training() -> None:
    followed = Followed()
    for stage, count in (("control.train_control", 500), ("train_head", 200)):
        for number in range(count):
            followed.count(
                json.loads(epoch(number, 1.0)) | {"stage": stage, "phase": stage, "level": ""}
            )
    assert len(sparkline(followed)) == 60
    assert sparkline(Followed()) == []
