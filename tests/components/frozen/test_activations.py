"""The activation store, augmented views, and that nothing is computed twice."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts import AssembledModel, Examples, Features
from components.extract import ExtractConfig, Vectors, extract
from components.fine_tune import FineTuneConfig, fine_tune
from components.frozen.activations import Activations
from components.frozen.batches import inputs_of
from components.frozen.networks import cut, open_backbone
from components.modalities.photos import raw as pictures
from components.modalities.photos.views import POLICIES, augmenter
from components.train_head import train_head
from components.training.head_config import HeadConfig
from models.mistakes import Mistake
from tests import helpers
from tests.conftest import picture, write_classes
from tests.helpers import PLAIN, ingested, job


def assembled(directory: Path, examples: Examples, **config: Any) -> AssembledModel:
    settings: dict[str, Any] = {"backbone": "ConvNet", "input_size": 16} | config
    return helpers.assembled(directory, examples, **settings)


def extracted(
    directory: Path,
    model: AssembledModel,
    examples: Examples,
    unfreeze: int | str = 1,
    views: int | str = 1,
    vectors: Vectors = "last",
    **config: Any,
) -> Features:
    wanted = helpers.views(views=views, policies=("flip", "colour"))
    settings = ExtractConfig(**config)
    return extract(
        job(directory), model, examples, unfreeze, wanted, settings, vectors=vectors, seed=0
    )


def test_rows_come_back_in_any_order_from_several_shards(tmp_path: Path) -> None:
    store = Activations.open(tmp_path, "key", [((3,), "float32"), ((2, 2), "float32")], {})
    for names in (["a", "b"], ["c"]):
        one = np.array([[ord(name)] * 3 for name in names], np.float32)
        two = np.array([np.full((2, 2), -ord(name)) for name in names], np.float32)
        with store.writer() as writer:
            writer.add(names, [one, two])
    reader = store.reader(["c", "a", "b"])
    one, two = reader.gather(np.array([2, 0, 1, 0]))
    assert [chr(int(v)) for v in one[:, 0]] == ["b", "c", "a", "c"]
    np.testing.assert_array_equal(two[:, 0, 0], -one[:, 0])


def test_a_shard_that_was_not_finished_does_not_exist(tmp_path: Path) -> None:
    store = Activations.open(tmp_path, "key", [((3,), "bfloat16")], {})
    writer = store.writer()
    writer.add(["a"], [np.zeros((1, 3), np.float32)])
    writer.__exit__(KeyboardInterrupt)
    assert store.index() == {}
    assert [path.name for path in store.directory.iterdir()] == ["meta.json"]


def test_what_is_stored_is_what_the_network_gives(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "examples", photos)
    model = assembled(tmp_path, examples)
    features = extracted(tmp_path / "features", model, examples, dtype="float32")
    assert features.block == "block3"
    network = open_backbone(model, model.weights)
    parts = cut(model, network, "block3")
    pooled, crossing = (
        inputs_of(job(tmp_path / "x"), features, output)[0] for output in ("pooled", "at_cut")
    )
    rows = np.arange(len(pooled))
    ids = [
        line.split('"')[3]
        for line in (features.directory / "rows.jsonl").read_text().splitlines()
        if '"train"' in line
    ]
    names = {
        line.split('"')[3]: line
        for line in (examples.directory / "index.jsonl").read_text().splitlines()
    }
    raws = [(photos / names[i].split('"name": "')[1].split('"')[0]).read_bytes() for i in ids]
    images = np.stack(
        [pictures.decode(pictures.Picture(**model.form), tf.constant(raw)).numpy() for raw in raws]
    )
    expected = np.asarray(network(images, training=False))
    np.testing.assert_allclose(pooled.gather(rows, 0), expected, atol=1e-5)
    through = parts.suffix(crossing.gather(rows, 0), training=False)
    np.testing.assert_allclose(np.asarray(through), expected, atol=1e-5)


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    examples = ingested(tmp_path / "e1", write_classes(tmp_path / "photos", 20))
    model = assembled(tmp_path, examples)
    first = extracted(tmp_path / "f1", model, examples)
    used = examples.counts["train"] + examples.counts["validation"]
    assert (first.stats["computed"], first.stats["reused"]) == (used, 0)

    again = extracted(tmp_path / "f2", model, examples)
    assert (again.stats["computed"], again.stats["reused"]) == (0, used)

    more = ingested(tmp_path / "e2", write_classes(tmp_path / "photos", 21))
    grown = extracted(tmp_path / "f3", model, more)
    assert grown.stats["computed"] <= 4
    assert (
        grown.stats["computed"] + grown.stats["reused"]
        == more.counts["train"] + more.counts["validation"]
    )

    views = extracted(tmp_path / "f4", model, examples, views=3)
    assert views.stats["computed"] >= 2 * examples.counts["train"]
    assert views.stats["reused"] >= 0.9 * used


def test_another_cut_needs_only_the_prefix_and_no_cut_nothing(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples)
    assert extracted(tmp_path / "f1", model, examples, 0).keys.keys() == {"pooled"}
    deeper = extracted(tmp_path / "f2", model, examples, 2)
    assert deeper.keys.keys() == {"pooled", "at_cut"}
    assert deeper.keys["pooled"] == extracted(tmp_path / "f3", model, examples, 0).keys["pooled"]


def test_epochs_cycle_through_the_views_of_training_examples_only(
    tmp_path: Path, photos: Path
) -> None:
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples)
    features = extracted(tmp_path / "f", model, examples, views=3)
    train, validation = inputs_of(job(tmp_path / "x"), features, "pooled")
    rows = np.arange(4)
    views = [train.gather(rows, epoch) for epoch in range(4)]
    np.testing.assert_array_equal(views[0], views[3])
    assert np.abs(views[0] - views[1]).max() > 0
    assert np.abs(views[1] - views[2]).max() > 0
    np.testing.assert_array_equal(validation.gather(rows, 0), validation.gather(rows, 2))


@pytest.mark.slow
def test_several_tensors_may_cross(tmp_path: Path, photos: Path) -> None:
    """NASNet's cells read the two before them."""
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples, backbone="NASNetMobile", input_size=32)
    features = extracted(tmp_path / "f", model, examples, 1, dtype="float32")
    gathered = inputs_of(job(tmp_path / "x"), features, "at_cut")[0].gather(np.arange(2), 0)
    assert len(gathered) == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_a_view_depends_on_seed_id_and_view_alone(policy: str) -> None:
    """Whatever the order and the number of threads; and it is a picture still."""
    pixels = tf.cast(tf.io.decode_png(picture(0, 0, size=32)), tf.float32)
    views = [(identity, view) for identity in ("a", "b") for view in range(4)]

    def drawn(order: list[tuple[str, int]], seed: int, threads: int) -> dict[Any, np.ndarray]:
        apply = augmenter((policy,), seed)
        ids, numbers = zip(*order, strict=True)
        stream = tf.data.Dataset.from_tensor_slices((list(ids), list(numbers)))
        mapped = stream.map(lambda i, v: apply(pixels, i, v), num_parallel_calls=threads)
        return dict(zip(order, mapped.as_numpy_iterator(), strict=True))

    one, other = drawn(views, 1, 1), drawn(views[::-1], 1, 4)
    for view in views:
        np.testing.assert_array_equal(one[view], other[view])
        assert 0 <= one[view].min() <= one[view].max() <= 255
    np.testing.assert_array_equal(one["a", 0], pixels.numpy())
    distinct = {one[view].tobytes() for view in views if view[1]}
    assert len(distinct) > 1
    elsewhere = drawn(views, 2, 2)
    assert any(not np.array_equal(elsewhere[view], one[view]) for view in views)


def test_colour_is_changed_and_kept() -> None:
    red = tf.constant(np.full((8, 8, 3), (200.0, 40.0, 40.0), np.float32))
    view = augmenter(("colour",), 0)(red, tf.constant("a"), tf.constant(1)).numpy().mean((0, 1))
    assert view[0] > 1.5 * view[1:].max()
    assert np.abs(view - red.numpy()[0, 0]).max() > 1


def gathered(
    tmp_path: Path, features: Features, output: str, epoch: int, rows: int = 6
) -> list[np.ndarray]:
    """What training and validation see of `output` in an epoch."""
    data = inputs_of(job(tmp_path / "gathered"), features, output)
    return [part.gather(np.arange(min(rows, len(part))), epoch) for part in data]


@pytest.mark.parametrize("output", ["pooled", "at_cut"])
def test_what_is_not_kept_is_computed_and_is_the_same(
    tmp_path: Path, photos: Path, output: str
) -> None:
    """A budget of nothing: same activations, same views, in the same epochs."""
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples)
    kept = extracted(tmp_path / "kept", model, examples, views=3, dtype="float32")
    live = extracted(tmp_path / "live", model, examples, views=3, budget="1 B", dtype="float32")
    assert live.keys == {}
    assert live.stats["computed"] == live.stats["bytes"] == 0
    assert live.stats["kept"] == "nothing is kept: features alone exceed 1 bytes"
    for epoch in range(2):
        for one, other in zip(
            gathered(tmp_path, kept, output, epoch),
            gathered(tmp_path, live, output, epoch),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_fresh_views_are_new_in_every_epoch_and_the_same_when_it_is_repeated(
    tmp_path: Path, photos: Path
) -> None:
    examples = ingested(tmp_path / "e", photos)
    features = extracted(tmp_path / "f", assembled(tmp_path, examples), examples, views="fresh")
    assert features.keys == {}
    seen = [gathered(tmp_path, features, "at_cut", epoch) for epoch in (0, 1, 2, 0)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(seen[one][0] - seen[other][0]).max() > 0
    np.testing.assert_array_equal(seen[0][0], seen[3][0])
    np.testing.assert_array_equal(seen[0][1], seen[2][1])


def test_the_budget_picks_the_deepest_cut_that_fits(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples)
    network = open_backbone(model, model.weights)
    blocks = ["stem", "block1", "block2", "block3"]
    each = {b: math.prod(cut(model, network, b).prefix.outputs[0].shape[1:]) * 2 for b in blocks}
    rows, features = examples.counts["train"] + examples.counts["validation"], 96 * 4
    for number, room in enumerate((max(each.values()), each["block3"] - 1, min(each.values()) - 1)):
        budget = f"{rows * (features + room)} B"
        got = extracted(tmp_path / f"{number}", model, examples, "block3", budget=budget)
        fit = [block for block in blocks if each[block] <= room]
        assert got.keys.keys() == ({"pooled", "at_cut"} if fit else {"pooled"})
        assert got.cut == (fit[-1] if fit else "block3")
        assert got.stats["bytes"] == rows * (features + (each[fit[-1]] if fit else 0))
        assert ("activations before " + (fit[-1] if fit else "block3")) in got.stats["kept"]


@pytest.mark.slow
def test_a_cut_before_the_block_trains_the_same_weights(tmp_path: Path, photos: Path) -> None:
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples)
    features = extracted(tmp_path / "f", model, examples, "block2", dtype="float32")
    deeper = features.model_copy(update={"block": "block3"})
    usual = extracted(tmp_path / "u", model, examples, "block3", dtype="float32")
    settings = FineTuneConfig(epochs=2, learning_rate=1e-3, precision="float32")
    head = train_head(job(tmp_path / "head"), usual, HeadConfig(epochs=2), PLAIN, seed=0)
    audits = []
    for name, given in (("deeper", deeper), ("usual", usual)):
        tuned = fine_tune(job(tmp_path / name), head, given, settings, PLAIN, seed=0)
        audits.append(json.loads((tuned.directory / "audit.json").read_text())["moved"])
    assert audits[0] == pytest.approx(audits[1], abs=1e-5)


def test_what_does_not_fit_the_disk_is_a_mistake(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = ingested(tmp_path / "e", photos)
    model = assembled(tmp_path, examples)
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(
        Mistake, match=r"room for activations, see --extract.budget: .* got 1.0 KB free"
    ):
        extracted(tmp_path / "f", model, examples)
