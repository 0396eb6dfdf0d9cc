"""Long sounds as windows: what is said of them, and that a cut leaves a row an example."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

from models import log_mel, taps, windows, yamnet
from models.backbones import build_backbone, find_backbone
from models.splitting import STEM, block_starts, one_or_all, split
from tests.conftest import ROOT

SIZE, HOP, COUNT = 15_600, 7_800, 4
SAMPLES = SIZE + (COUNT - 1) * HOP


@pytest.fixture(scope="module")
def alone() -> keras.Model:
    """What hears one window."""
    keras.utils.set_random_seed(0)
    network = yamnet.yamnet()
    network.trainable = False
    return network


@pytest.fixture(scope="module")
def network(alone: keras.Model) -> keras.Model:
    samples = keras.Input((SAMPLES,), name="samples")
    heard, _ = windows.Windows(size=SIZE, hop=HOP, count=COUNT)(samples)
    whole = windows.mean(yamnet.yamnet(heard))
    whole.set_weights(alone.get_weights())
    return whole


def sounds(*lengths: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    there = np.arange(SAMPLES) < np.array(lengths)[:, None]
    return (there * rng.uniform(-1, 1, there.shape)).astype(np.float32)


@pytest.mark.parametrize(("length", "heard"), [(SAMPLES, 4), (20_000, 2), (8_000, 1), (1, 1)])
def test_the_mean_of_the_windows_that_have_some_of_the_sound(
    network: keras.Model, alone: keras.Model, length: int, heard: int
) -> None:
    given = sounds(length)
    each = [given[:, at * HOP : at * HOP + SIZE] for at in range(heard)]
    expected = np.mean([np.asarray(alone(one, training=False)) for one in each], axis=0)
    got = np.asarray(network(given, training=False))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_suffix_of_prefix_is_the_whole_at_every_cut(network: keras.Model) -> None:
    given = sounds(SAMPLES, 20_000, 8_000)
    whole = np.asarray(network(given, training=False))
    starts = block_starts(network, yamnet.BLOCK)
    for block in [*starts, None]:
        parts = split(network, starts, block)
        crossing = [np.asarray(x) for x in keras.tree.flatten(parts.prefix(given, training=False))]
        assert all(len(tensor) == len(given) for tensor in crossing), block
        got = np.asarray(parts.suffix(one_or_all(crossing), training=False))
        np.testing.assert_allclose(got, whole, atol=1e-6, err_msg=str(block))
        known = {id(variable) for variable in network.weights}
        assert {id(variable) for variable in parts.suffix.weights} <= known
    inner = split(network, starts, list(starts)[3]).suffix
    assert not any(isinstance(layer, keras.Model) for layer in inner.layers)


def test_taps_are_means_of_the_windows(network: keras.Model, alone: keras.Model) -> None:
    def vectors(model: keras.Model, given: Any) -> np.ndarray:
        starts = block_starts(model, yamnet.BLOCK)
        found = taps.find(model, starts, taps.of_windows(model, taps.mean_of_map))
        return np.asarray(taps.tapped(model, found)(given, training=False))

    given = sounds(SAMPLES)
    each = [vectors(alone, given[:, at * HOP : at * HOP + SIZE]) for at in range(COUNT)]
    np.testing.assert_allclose(vectors(network, given), np.mean(each, axis=0), atol=1e-5)


def test_from_a_cut_to_other_tensors(network: keras.Model) -> None:
    """What crosses has the windows of an example as an axis; a head or a probe reads taps of it."""
    given = sounds(SAMPLES, 8_000)
    starts = block_starts(network, yamnet.BLOCK)
    found = taps.find(network, starts, taps.of_windows(network, taps.mean_of_map))
    whole = np.asarray(taps.tapped(network, found)(given, training=False))
    block, later = list(starts)[2], list(starts)[-2]
    at = split(network, starts, block)
    crossing = one_or_all(keras.tree.flatten(at.prefix(given, training=False)))
    last = {found[-1].name: found[-1].vector}
    said = at.onwards(last)(crossing, training=False)
    width = found[-1].width
    np.testing.assert_allclose(said[found[-1].name], whole[:, -width:], atol=1e-5)
    further = split(network, starts, later)
    way = at.onwards(further.crossing, folded=True)(crossing, training=False)
    straight = keras.tree.flatten(further.prefix(given, training=False))
    for got, wanted in zip(keras.tree.flatten(way), straight, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_pictures_of_windows() -> None:
    """A network for pictures sees the spectrogram of each."""
    samples = keras.Input((SAMPLES,), name="samples")
    heard, _ = windows.Windows(size=SIZE, hop=HOP, count=COUNT)(samples)
    picture = log_mel.MelPicture(
        rate=16_000, windows=(256, 512, 1024), hop=320, mels=32, low=20.0, high=8000.0
    )(heard)
    network = windows.mean(build_backbone("SmallConvNet", picture=picture))
    given = sounds(SAMPLES, 8_000)
    whole = np.asarray(network(given, training=False))
    starts = block_starts(network, find_backbone("SmallConvNet").block)
    for block in (STEM, *list(starts)[1:]):
        parts = split(network, starts, block)
        crossing = keras.tree.flatten(parts.prefix(given, training=False))
        got = np.asarray(parts.suffix(one_or_all(crossing), training=False))
        np.testing.assert_allclose(got, whole, atol=1e-6)


def cut_everywhere() -> float:
    """The largest difference between a network of windows and its parts, on this backend."""
    samples = keras.Input((4_000,), name="samples")
    heard, _ = windows.Windows(size=2_000, hop=1_000, count=3)(samples)
    picture = log_mel.MelPicture(
        rate=16_000, windows=(256, 512, 1024), hop=125, mels=16, low=20.0, high=8000.0
    )(heard)
    network = windows.mean(build_backbone("SmallConvNet", picture=picture))
    given = np.random.default_rng(0).uniform(-1, 1, (2, 4_000)).astype(np.float32)
    whole = keras.ops.convert_to_numpy(network(given, training=False))
    starts, apart = block_starts(network, find_backbone("SmallConvNet").block), 0.0
    for block in list(starts)[1:]:
        parts = split(network, starts, block)
        crossing = keras.tree.flatten(parts.prefix(given, training=False))
        got = keras.ops.convert_to_numpy(parts.suffix(one_or_all(crossing), training=False))
        apart = max(apart, float(np.abs(got - whole).max() / np.abs(whole).max()))
    return apart


@pytest.mark.backends
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_windows_are_cut_on_every_backend(backend: str) -> None:
    """JAX does not know what becomes of a batch of unknown size."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = "import tests.models.test_windows as t; print('APART', t.cut_everywhere())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.rpartition("APART")[2]) < 1e-5
