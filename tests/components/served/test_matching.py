"""`embed` and `match`: whether two examples are of one kind, at a stated rate of false accepts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.served.manifest import MANIFEST
from tests.conftest import InProcess, write_classes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", 20, ("ant", "bee", "cat"))


def test_vectors_are_of_length_one_and_neighbours_are_left_as_they_are(
    pushed: Path, photos: Path
) -> None:
    raws = [(photos / name / "1.jpeg").read_bytes() for name in ("ant", "bee", "cat")]
    embed = tf.saved_model.load(pushed).signatures["embed"]
    alone = embed(raw=tf.constant(raws))
    vectors = alone["embedding"].numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    mixed = embed(raw=tf.constant([raws[0], b"no picture", raws[1]]))
    assert mixed["valid"].numpy().tolist() == [True, False, True]
    assert not mixed["embedding"].numpy()[1].any()
    np.testing.assert_allclose(mixed["embedding"].numpy()[::2], vectors[:2], atol=1e-5)


def test_two_files(here: InProcess, pushed: Path, photos: Path) -> None:
    one, other = photos / "ant" / "1.jpeg", photos / "bee" / "3.jpeg"
    known = json.loads((pushed / MANIFEST).read_text())["match"]
    assert known["rate"] == 0.01
    assert known["low"] <= known["high"]
    same = json.loads(here("match", pushed, one, one, "--json").stdout)
    assert same["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert same["same"] is True
    done = here("match", pushed, one, other)
    verdict, cosine, threshold = done.stdout.split("\t")
    assert float(threshold) == pytest.approx(known["threshold"], abs=1e-3)
    assert verdict == ("the same" if float(cosine) >= float(threshold) else "different")


def test_what_is_refused(
    here: InProcess, pushed: Path, photos: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    one = photos / "ant" / "1.jpeg"
    (tmp_path / "text.jpeg").write_text("no picture")
    unread = here("match", pushed, one, tmp_path / "text.jpeg")
    assert unread.returncode == 2
    assert "INPUT must be an example that can be read, got" in unread.stderr
    gone = here("match", pushed, one, "nowhere.jpeg")
    assert gone.returncode == 2
    assert "INPUT must be a file that can be read" in gone.stderr
    shutil.rmtree(photos / "cat")
    plain = here.result(tiny_recipe, "--serve.known", 0, "--serve.coverage", 0)
    without = here("match", plain["pushed"], one, one)
    assert without.returncode == 2
    assert "MODEL must have the signature embed" in without.stderr
