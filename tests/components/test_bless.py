"""The verdict: on the same examples, with an interval, and it can come out the other way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.artifacts import Blessing, Evaluation, Rivals
from components.bless import BlessConfig, bless
from components.judging import judged
from components.tasks.protocol import Space, Target
from tests.helpers import job

TARGETS = (Target(task="one_label", space=Space(labels=("ant", "bee"))),)


def evaluation(directory: Path, right: np.ndarray, **changed: Any) -> Evaluation:
    """Of a model that is right about some of as many examples, ants and bees in turns."""
    directory.mkdir(parents=True)
    rows = []
    for number, is_right in enumerate(right):
        bee = number % 2
        share = 0.9 if bee == is_right else 0.1
        said = {"label": ("ant", "bee")[share > 0.5], "probabilities": [1 - share, share]}
        answer = ("ant", "bee")[bee]
        rows.append({"id": f"{number:06}", "name": "", "answers": [answer], "valid": True})
        rows[-1] |= {"said": [said], "likeness": {}}
    judged.write(directory, rows, TARGETS, TARGETS)
    return judged.read(
        directory, **{"model": None, "targets": TARGETS, "said_by": TARGETS} | changed
    )


def first(share: float, count: int = 1000) -> np.ndarray:
    """Right about the first ones: who is right about fewer is right about some of the same."""
    return np.arange(count) < share * count


def by_chance(share: float, seed: int, count: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).permutation(first(share, count))


def verdict(
    directory: Path, candidate: np.ndarray, config: dict[str, Any], **rivals: np.ndarray
) -> Blessing:
    others = {name: evaluation(directory / name, right) for name, right in rivals.items()}
    judged = evaluation(directory / "candidate", candidate)
    return bless(job(directory / "bless"), judged, Rivals(**others), BlessConfig(**config))


@pytest.mark.parametrize(
    ("candidate", "rivals", "config", "blessed", "said"),
    [
        (0.9, {}, {}, True, "There is no blessed model yet"),
        (
            0.9,
            {},
            {},
            True,
            "accuracy is 0.900 on 1000 test examples (95 % interval 0.880 to 0.917",
        ),
        (0.9, {}, {"at_least": ("accuracy=0.95",)}, False, "at least 0.95 is asked for"),
        (0.9, {}, {"at_most": ("log_loss=0.2",)}, False, "at most 0.2 is asked for"),
        (0.9, {}, {"at_least": ("least_recall=0.95",)}, False, "least recall is 0.900"),
        (0.5, {}, {}, False, "it is no better than always answering the most frequent"),
        (0.51, {}, {}, True, "which may be chance"),
        (0.9, {"blessed": 0.905}, {}, True, "the change is -0.005"),
        (0.9, {"blessed": 0.95}, {}, False, "The last blessed model has accuracy 0.950"),
        (0.9, {"control": 0.92}, {}, False, "transferring hurt, by -0.020"),
        (0.9, {"control": 0.7}, {}, True, "transferring helped, by +0.200"),
        (0.9, {"control": 0.9}, {}, True, "transferring made no difference to speak of"),
        (0.9, {"control": 0.9}, {"min_transfer_gain": 0}, False, "a gain of surely 0 is asked"),
        (0.9, {"control": 0.7}, {"min_transfer_gain": 0.1}, True, "transferring helped"),
        (0.9, {"control": 0.7}, {"min_transfer_gain": 0.3}, False, "a gain of surely 0.3 is asked"),
        (0.9, {"control": 0.6, "shortcut": 0.8}, {}, True, "Much of the answer is in"),
        (0.9, {"control": 0.6, "shortcut": 0.95}, {}, False, "transferring hurt"),
        (0.4, {"blessed": 0.9, "control": 0.9}, {"force": "a demo"}, True, "was forced: a demo."),
    ],
)
def test_verdicts(
    tmp_path: Path,
    candidate: float,
    rivals: dict[str, float],
    config: dict[str, Any],
    blessed: bool,
    said: str,
) -> None:
    others = {name: first(share) for name, share in rivals.items()}
    result = verdict(tmp_path, first(candidate), config, **others)
    assert result.blessed is blessed
    assert any(said in reason for reason in result.reasons), result.reasons
    assert all(reason.endswith(".") for reason in result.reasons)
    assert (tmp_path / "bless" / ("BLESSED" if blessed else "NOT_BLESSED")).exists()
    assert {found.rival for found in result.comparisons} == set(rivals)


def test_what_can_be_chance_is_forgiven(tmp_path: Path) -> None:
    """Two of a hundred less, and another ten the other way: nobody knows."""
    drop = {"candidate": by_chance(0.9, 1), "blessed": by_chance(0.92, 2)}
    forgiven = verdict(tmp_path / "a", config={}, **drop)
    assert forgiven.blessed
    assert any("this may be chance" in reason for reason in forgiven.reasons)
    assert not verdict(tmp_path / "b", config={"confidence": 0}, **drop).blessed
    assert verdict(tmp_path / "c", config={"confidence": 0, "max_drop": 0.03}, **drop).blessed


def test_nobody_can_tell(tmp_path: Path) -> None:
    result = verdict(tmp_path, by_chance(0.9, 1), {}, control=by_chance(0.87, 2))
    [said] = [reason for reason in result.reasons if "transferring" in reason]
    assert "it cannot be told whether transferring helped" in said
    assert "test examples might tell" in said
    assert result.blessed
    asked = {"min_transfer_gain": 0.0}
    assert not verdict(tmp_path / "b", by_chance(0.9, 1), asked, control=by_chance(0.87, 2)).blessed


def test_a_control_that_was_cut_short_is_told(tmp_path: Path) -> None:
    cut = SimpleNamespace(
        trained=SimpleNamespace(
            cut_short="2 of 9 epochs fit its budget of 10s", title="a small one"
        )
    )
    control = evaluation(tmp_path / "control", first(0.6)).model_copy(update={"model": cut})
    rivals = Rivals(control=control)
    candidate = evaluation(tmp_path / "candidate", first(0.9))
    found = bless(job(tmp_path / "verdict"), candidate, rivals, BlessConfig())
    assert any("a small one (2 of 9 epochs fit its budget of 10s)" in r for r in found.reasons)


@pytest.mark.parametrize(
    ("asked", "blessed", "said"),
    [
        ({}, True, "Much of what it knew is forgotten"),
        ({"least_alike": 0.4}, False, "by 0.300, where at least 0.4 is asked for"),
        ({"least_alike": 0.2}, True, "by 0.300, where at least 0.2"),
        ({"least_agreement": 0.7}, False, "by 0.600, where at least 0.7"),
    ],
)
def test_what_was_forgotten_can_be_a_reason(
    tmp_path: Path, asked: dict[str, float], blessed: bool, said: str
) -> None:
    blocks = [{"block": "a", "moved": 1.0, "cka": 0.3}, {"block": "b", "moved": 1.0, "cka": 0.9}]
    found = {"blocks": blocks, "own_head": {"agreement": 0.6}, "share": 1, "curve": []}
    (tmp_path / "forgetting.json").write_text(json.dumps(found | {"kept": None}))
    trained = SimpleNamespace(directory=tmp_path, backbone_changed=True)
    candidate = evaluation(tmp_path / "candidate", first(0.9)).model_copy(
        update={"model": SimpleNamespace(trained=trained, modality="image")}
    )
    verdict = bless(job(tmp_path / "bless"), candidate, Rivals(), BlessConfig(**asked))
    assert verdict.blessed is blessed
    assert any(said in reason for reason in verdict.reasons)
