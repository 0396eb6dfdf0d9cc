"""One label: its figures are scikit-learn's, and blessing knows them by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn import metrics

from components.artifacts import Rivals
from components.bless import BlessConfig, bless
from components.judging import judged
from components.tasks import one_label
from components.tasks.protocol import Space, Target
from tests.helpers import job

SPACE = Space(labels=("a", "b", "c"))
ANSWERS = ["a", "a", "b", "b", "c", "c"]
NAMED = ["a", "b", "b", "b", "c", "a"]


def test_macro_f1_is_scikit_learns_and_can_be_asked_for(tmp_path: Path) -> None:
    said = [
        {"label": label, "probabilities": [0.8 if x == label else 0.1 for x in SPACE.labels]}
        for label in NAMED
    ]
    scores = one_label.score(ANSWERS, said, SPACE, SPACE)
    expected = metrics.f1_score(ANSWERS, NAMED, average="macro")
    assert scores.figures["macro_f1"] == pytest.approx(expected)
    rows = [
        {
            "id": str(number),
            "name": "",
            "answers": [answer],
            "valid": True,
            "said": [each],
            "likeness": {},
        }
        for number, (answer, each) in enumerate(zip(ANSWERS, said, strict=True))
    ]
    targets = (Target(task="one_label", space=SPACE),)
    judged.write(tmp_path, rows, targets, targets)
    evaluation = judged.read(tmp_path, model=None, targets=targets, said_by=targets)
    for asked, blessed in ((0.6, True), (0.7, False)):
        config = BlessConfig(at_least=(f"macro_f1={asked}",))
        verdict = bless(job(tmp_path / f"{asked}"), evaluation, Rivals(), config)
        assert verdict.blessed is blessed
        assert f"Its macro f1 is {expected:.3f}, where at least {asked} is asked for." in (
            verdict.reasons
        )
