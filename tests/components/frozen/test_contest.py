"""Another engine takes a feature pass over only where it says the same, sooner."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.frozen import contest
from components.frozen.contest import Contest
from models import engines

INPUTS = [np.random.default_rng(0).normal(size=(8, 5)).astype("float32")]


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs))


def outcome(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    *,
    off: float = 0.0,
    sleep: float = 0.0,
    fails_after: int = 100,
) -> tuple[list[str], dict[str, Any]]:
    """Which engine computed each of six batches, and what is kept about the other one."""
    model, computed = network(), list[str]()

    def run_of(name: str, sleep: float, off: float) -> contest.Run:
        def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
            computed.append(name)
            time.sleep(sleep)
            if name == "other" and computed.count(name) > fails_after:
                raise MemoryError
            return [np.asarray(model(inputs[0])) + np.float32(off)]

        return run

    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr(contest, "WORTH", 0.1)
    monkeypatch.setattr(engines, "others", lambda: {"other": lambda _: run_of("other", sleep, off)})
    monkeypatch.setattr(engines, "versions", lambda: "1")
    run = Contest(model, run_of("backend", 0.05, 0.0), 100)
    said = []
    for _ in range(6):
        said = run(INPUTS)
    np.testing.assert_allclose(said[0], model(INPUTS[0]), atol=1e-5)
    [kept] = contest._read().values()
    return computed, kept


def test_what_is_faster_and_agrees_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    computed, kept = outcome(monkeypatch, tmp_path)
    assert computed[:3] == ["backend"] * 3
    assert computed[-3:] == ["other"] * 3
    assert kept["better"]
    assert kept["times"] > 2


@pytest.mark.parametrize("wrong", [{"off": 0.1}, {"sleep": 0.1}])
def test_what_disagrees_or_is_slower_is_not_trusted_nor_tried_again(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    computed, kept = outcome(monkeypatch, tmp_path, **wrong)
    assert computed[-3:] == ["backend"] * 3
    assert "other" in computed
    assert not kept["better"]
    computed, _ = outcome(monkeypatch, tmp_path, **wrong)
    assert computed == ["backend"] * 6


def test_what_fails_later_gives_the_pass_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    computed, _ = outcome(monkeypatch, tmp_path, fails_after=4)
    assert computed[-3:] == ["other", "backend", "backend"]


@pytest.mark.parametrize("off", [np.nan, 0.01])
def test_no_feature_of_any_output_may_be_off(off: float) -> None:
    """The second feature varies little: by what it is off, the first would hide it."""
    right = np.random.default_rng(0).normal(size=(8, 2)) * [1.0, 0.05]
    wrong = right + np.array([0.0, off])
    assert not contest._apart([right, wrong], [right, right]) <= contest.TOLERANCE
    assert not contest._apart([wrong, right], [right, right]) <= contest.TOLERANCE
    assert contest._apart([right, right], [right, right]) == 0
    assert contest._apart([right, right[:1]], [right, right]) > contest.TOLERANCE


@pytest.mark.parametrize("damaged", ["{", "null", "[1]"])
def test_a_file_that_is_damaged_is_measured_anew(
    damaged: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shoulders_engines.json").write_text(damaged)
    _, kept = outcome(monkeypatch, tmp_path)
    assert kept["better"]


@pytest.mark.skipif(not find_spec("openvino"), reason="the extra openvino is not installed")
def test_openvino_agrees() -> None:
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), alpha=0.35, weights=None, include_top=False, pooling="avg"
    )
    model.trainable = False
    images = np.random.default_rng(0).uniform(-1, 1, (4, 64, 64, 3)).astype("float32")
    [said] = engines.others()["openvino"](model)([images])
    expected = np.asarray(model(images))
    assert np.abs(said - expected).max() <= contest.TOLERANCE * expected.std()
