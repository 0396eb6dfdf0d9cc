"""Sentences in the engine: stored without padding, batched by length, changed, trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.artifacts import AssembledModel, Examples, Features
from components.extract import ExtractConfig, extract, view_names
from components.fine_tune import FineTuneConfig, fine_tune
from components.frozen.activations import Activations
from components.frozen.batches import inputs_of
from components.frozen.forward import Forward
from components.frozen.networks import cut, open_backbone
from components.modalities.sentences import views as sentence_views
from components.modalities.table import open_reader
from components.train_from_scratch import train_from_scratch
from components.train_head import train_head
from components.training.data import training_data
from components.training.head_config import HeadConfig
from components.training.heads import open_whole
from components.training.scratch import ScratchConfig
from models import minibatches, training
from models.mistakes import Mistake
from tests.helpers import PLAIN, assembled, ingested, job, tfds_of
from tests.helpers import views as views_of
from tests.presets import write_preset, write_table

Setting = tuple[Examples, AssembledModel]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    directory = tmp_path_factory.mktemp("sentences")
    examples = ingested(directory / "e", write_table(directory / "t.jsonl", 40), modality="text")
    preset = write_preset("BERT", directory / "bert")
    return examples, assembled(directory, examples, None, backbone=str(preset), sequence_length=16)


def extracted(
    directory: Path, setting: Setting, unfreeze: int | str = 1, **config: Any
) -> Features:
    wanted = views_of("text", **config.pop("augment", {}))
    settings = ExtractConfig(**{"dtype": "float32", "batch_size": 8} | config)
    examples, model = setting
    return extract(
        job(directory), model, examples, unfreeze, wanted, settings, vectors="last", seed=0
    )


def by_hand(setting: Setting, features: Features, block: str | None) -> dict[str, Any]:
    """Text id → its tensors before `block`, each text alone and unpadded."""
    examples, model = setting
    network = open_backbone(model, model.weights)
    prefix = cut(model, network, block).prefix if block else network
    run, reader = Forward(prefix, list(prefix.outputs), 1), open_reader(model)
    rows = [json.loads(x) for x in (examples.directory / "index.jsonl").read_text().splitlines()]
    texts = dict(
        zip([r["id"] for r in rows], _raws(examples, [r["id"] for r in rows]), strict=True)
    )
    found = {}
    for identity, raw in texts.items():
        batch = reader.read([identity], [raw], [0])
        assert batch.lengths is not None
        tensors = run(batch.inputs)
        found[identity] = [t[:, : batch.lengths[0]] if block else t for t in tensors]
    return found


def _raws(examples: Examples, ids: list[str]) -> list[bytes]:
    found = {
        row["id"].decode(): row["text"]
        for split in ("train", "validation", "test")
        for row in tfds_of(examples, split).as_numpy_iterator()
    }
    return [found[identity] for identity in ids]


def ids_of(features: Features, split: str) -> list[str]:
    rows = map(json.loads, (features.directory / "rows.jsonl").read_text().splitlines())
    return [row["id"] for row in rows if row["split"] == split]


def test_a_model_is_the_same_whatever_the_process_made_before(
    tmp_path: Path, setting: Setting
) -> None:
    examples, model = setting
    preset = str(write_preset("BERT", tmp_path / "bert"))
    again = assembled(tmp_path, examples, None, backbone=preset, sequence_length=16)
    for name in ("config.json", "tokenizer.json"):
        one, other = ((m.directory / "preset" / name).read_text() for m in (model, again))
        assert one == other
    assert open_reader(again).survey([b"good"]).cut_short == 0.0
    survey = open_reader(again).survey([b"good", b"good " * 20])
    assert (survey.length, survey.cut_short) == (10, 0.5)
    assert "50.0 % of the training texts are longer than the 16 tokens" in survey.note


def test_rows_have_the_lengths_they_came_with(tmp_path: Path) -> None:
    tensors = [((None, 2), "bfloat16"), ((None,), "int32"), ((3,), "float32")]
    store = Activations.open(tmp_path, "key", tensors, {})
    lengths = {"a": 2, "b": 4, "c": 1}
    for names in (["a", "b"], ["c"]):
        size = np.array([lengths[name] for name in names])
        one = np.array([np.full((5, 2), ord(name)) for name in names], np.float32)
        two = np.array([np.arange(1, 6) for _ in names], np.int32)
        with store.writer() as writer:
            writer.add(names, [one, two, np.ones((len(names), 3), np.float32)], size)
    reader = store.reader(["c", "b", "a"])
    assert reader.lengths is not None
    assert reader.lengths.tolist() == [1, 4, 2]
    one, two, three = reader.gather(np.array([2, 0]))
    np.testing.assert_array_equal(one[:, :, 0], [[97, 97], [99, 0]])
    np.testing.assert_array_equal(two, [[1, 2], [1, 0]])
    assert one.dtype == np.float32
    assert two.dtype == np.int32
    assert three.shape == (2, 3)
    assert sum(p.stat().st_size for p in store.directory.glob("*.0.bin")) == 7 * 2 * 2
    with pytest.raises(ValueError, match="must have lengths"), store.writer() as writer:
        writer.add(["d"], [one[:1], two[:1], three[:1]])


def test_what_is_stored_is_what_each_text_gives_alone(tmp_path: Path, setting: Setting) -> None:
    features = extracted(tmp_path / "f", setting)
    assert features.block == features.cut == "transformer_layer_2"
    used = sum(features.counts.values())
    assert (features.stats["computed"], features.stats["reused"]) == (used, 0)
    for output, block in (("at_cut", features.cut), ("pooled", None)):
        data, _ = inputs_of(job(tmp_path / "x"), features, output)
        expected = by_hand(setting, features, block)
        inputs = data.gather(np.arange(len(data)), 0)
        tensors = inputs if isinstance(inputs, list) else [inputs]
        for row, identity in enumerate(ids_of(features, "train")):
            for tensor, alone in zip(tensors, expected[identity], strict=True):
                length = alone.shape[1] if alone.ndim > 1 and output == "at_cut" else None
                np.testing.assert_allclose(tensor[row][:length], alone[0], atol=1e-5)
                assert length is None or not tensor[row][length:].any()


def test_a_text_is_computed_the_same_whatever_is_computed_with_it(
    tmp_path: Path, setting: Setting
) -> None:
    """As after a killed pass, of which some rows are there and others are still to come."""
    examples, model = setting
    reader = open_reader(model)
    network = open_backbone(model, model.weights)
    run = Forward(network, list(network.outputs), 8)
    rows = [(row["id"], row["text"], [0]) for row in tfds_of(examples, "train").as_numpy_iterator()]

    def features(of: list[tuple[bytes, bytes, list[int]]]) -> dict[bytes, np.ndarray]:
        return {
            identity: vector
            for batch in reader.batches(lambda: of, 8, augmented=False)
            for identity, vector in zip(batch.ids, run(batch.inputs)[0], strict=True)
        }

    whole, some = features(rows), features(rows[::3])
    assert len(some) > 10
    for identity, vector in some.items():
        np.testing.assert_array_equal(vector, whole[identity])


def test_views_by_the_giants_embeddings_are_named_after_its_weights(setting: Setting) -> None:
    _, model = setting
    other = model.model_copy(update={"directory": model.directory.parent / "checks"})
    (other.directory / "backbone.weights.h5").write_bytes(b"others")
    for policy, same in (("deletion", True), ("synonym", False)):
        wanted = views_of("text", views=2, policies=(policy,))
        assert (view_names(model, wanted, 0) == view_names(other, wanted, 0)) is same


def test_what_is_not_kept_is_computed_and_is_the_same(tmp_path: Path, setting: Setting) -> None:
    kept, live = extracted(tmp_path / "k", setting), extracted(tmp_path / "l", setting, budget=1)
    assert live.keys == {}
    for output in ("pooled", "at_cut"):
        both = [
            inputs_of(job(tmp_path / f.directory.name / "x"), f, output)[0] for f in (kept, live)
        ]
        rows = np.array([3, 0, 11])
        for one, other in zip(*(_list(data.gather(rows, 0)) for data in both), strict=True):
            width = one.shape[1]  # The one is padded as it is stored, the other as it is computed.
            np.testing.assert_allclose(one, other[:, :width], atol=1e-5)
            assert not other[:, width:].any()


def _list(inputs: Any) -> list[Any]:
    return inputs if isinstance(inputs, list) else [inputs]


def test_batches_are_of_one_length_and_have_every_row_once() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 997)
    batches = list(minibatches.batches(rng.permutation(997), 16, lengths, rng))
    rows = np.concatenate([rows[weights > 0] for rows, weights in batches])
    assert sorted(rows) == list(range(997))
    assert sum(weights.sum() for _, weights in batches) == pytest.approx(
        sum(len(rows) for rows, _ in batches)
    )
    padded = sum(lengths[rows].max() * len(rows) for rows, _ in batches)
    assert padded < 1.05 * lengths.sum()
    firsts = [lengths[rows[0]] for rows, _ in batches]
    assert firsts != sorted(firsts)  # Short ones do not always come first.


@pytest.mark.parametrize("unfreeze", [pytest.param(2, marks=pytest.mark.slow), "all"])
def test_fine_tuning_reads_padded_batches(
    tmp_path: Path, setting: Setting, unfreeze: int | str
) -> None:
    features = extracted(tmp_path / "f", setting, unfreeze)
    head = train_head(job(tmp_path / "h"), features, HeadConfig(epochs=1), PLAIN, seed=0)
    config = FineTuneConfig(
        unfreeze=unfreeze, epochs=4, learning_rate=3e-4, layer_decay=0.5, head_ratio=30
    )
    tuned = fine_tune(job(tmp_path / "t"), head, features, config, PLAIN, seed=0)
    epochs = json.loads((tuned.directory / "history.json").read_text())["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"]


def test_dropout_does_not_depend_on_what_ran_before(tmp_path: Path, setting: Setting) -> None:
    """A head that was trained in the same process, or one that was there already."""
    features = extracted(tmp_path / "f", setting, 2)
    head = train_head(job(tmp_path / "h"), features, HeadConfig(epochs=1), PLAIN, seed=0)
    config = FineTuneConfig(unfreeze=2, epochs=1, learning_rate=1e-3, precision="float32")
    epochs = []
    for before in (1, 2):
        keras.utils.set_random_seed(before)
        tuned = fine_tune(job(tmp_path / f"{before}"), head, features, config, PLAIN, seed=0)
        epochs.append(json.loads((tuned.directory / "history.json").read_text())["epochs"])
    assert epochs[0] == epochs[1]


def test_lora_moves_nothing_else_and_is_merged(tmp_path: Path, setting: Setting) -> None:
    features = extracted(tmp_path / "f", setting, 2)
    head = train_head(job(tmp_path / "h"), features, HeadConfig(epochs=1), PLAIN, seed=0)
    config = FineTuneConfig(
        unfreeze=2, epochs=4, learning_rate=1e-3, head_ratio=10, lora_rank=2, precision="float32"
    )
    tuned = fine_tune(job(tmp_path / "t"), head, features, config, PLAIN, seed=0)
    assert tuned.backbone_changed
    audit = json.loads((tuned.directory / "audit.json").read_text())
    kernels = {name for name in audit["moved"] if "probabilities" not in name}
    assert len(kernels) == 2 * 6  # Query, key, value, output, and two of the feed-forward network.
    assert all(name.endswith("/kernel") for name in kernels)
    assert not kernels & {*audit["frozen"]}
    before = {w.path: np.array(w) for w in open_backbone(setting[1], setting[1].weights).weights}
    for weight in open_backbone(setting[1], tuned.backbone_weights).weights:
        change = np.abs(np.array(weight) - before[weight.path]).max()
        assert change == pytest.approx(audit["moved"].get(weight.path, 0.0), abs=1e-6)
    # What was saved is a network without LoRA that gives what the trained one gave.
    classifier = open_whole(tuned)
    assert not any("lora" in weight.path for weight in classifier.weights)
    every = extracted(tmp_path / "a", setting, "all")
    data = training_data(job(tmp_path / "x"), every, "at_cut", PLAIN)
    classifier.compile(loss=data.objective.loss(classifier))
    figures = training.evaluate(classifier, data.validation, data.objective, 8)
    assert figures["loss"] == pytest.approx(tuned.stats["val_loss"], abs=1e-5)
    assert tuned.stats["val_loss"] < tuned.stats["before_val_loss"]


@pytest.mark.slow
def test_from_scratch_and_mixup_on_tokens(tmp_path: Path, setting: Setting) -> None:
    features = extracted(tmp_path / "f", setting, "all")
    config = ScratchConfig(epochs=2, learning_rate=1e-3)
    assert train_from_scratch(job(tmp_path / "s"), features, config, PLAIN, seed=0).backbone_changed
    with pytest.raises(Mistake, match="mixup must be 0 where tokens are trained on"):
        train_from_scratch(
            job(tmp_path / "m"), features, config.model_copy(update={"mixup": 0.2}), PLAIN, seed=0
        )


def views(setting: Setting, seed: int = 0, **config: Any) -> Any:
    """(text, view) → that view of the text, with the id `a`."""
    augmenter = sentence_views.Augmenter(setting[1], views_of("text", views=4, **config), seed)
    return lambda text, view: augmenter(text.encode(), "a", view).decode()


TEXT = "the film was quite good and the actors rather superb and the music was fine " * 3


@pytest.mark.parametrize("policy", ["deletion", "swap", "insertion", "synonym"])
def test_a_view_depends_on_seed_id_and_view_alone(
    setting: Setting, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_views, "NEAR", -1.0)  # Random embeddings are near to nothing.
    view = views(setting, policies=(policy,))
    assert view(TEXT, 0) == TEXT
    changed = [view(TEXT, number) for number in (1, 2, 3)]
    assert changed == [views(setting, policies=(policy,))(TEXT, number) for number in (1, 2, 3)]
    assert views(setting, 1, policies=(policy,))(TEXT, 1) != changed[0]
    if policy in ("deletion", "swap"):
        assert len({TEXT, *changed}) == 4
        assert set(" ".join(changed).split()) <= set(TEXT.split())
    for text in changed:
        assert abs(len(text.split()) - len(TEXT.split())) <= 0.4 * len(TEXT.split())
    assert view("good", 1)  # Never empty.


def test_neighbours_are_words_near_in_the_giants_embeddings(setting: Setting) -> None:
    thesaurus = sentence_views.Thesaurus(setting[1])
    words, vectors, at = thesaurus._table
    vectors[at["great"]] = vectors[at["good"]]
    assert thesaurus.neighbours("GOOD")[0] == "great"
    assert thesaurus.neighbours("unheard") == []
    assert {"good", "film"} <= set(words)


def shout(text: str) -> str:
    """A translator there and back."""
    return text.upper()


def test_back_translation_is_the_users_own(setting: Setting) -> None:
    translated = views(setting, policies=("backtranslation",), translator=f"{__name__}:shout")
    assert translated("the film was good", 1) == "THE FILM WAS GOOD"


def test_views_are_stored_and_fresh_ones_are_new(tmp_path: Path, setting: Setting) -> None:
    kept = extracted(tmp_path / "v", setting, augment={"views": 3})
    assert kept.stats["computed"] == 3 * kept.counts["train"] + kept.counts["validation"]
    data, _ = inputs_of(job(tmp_path / "x"), kept, "at_cut")
    assert data.lengths is not None
    assert not np.array_equal(data.lengths(0), data.lengths(1))
    np.testing.assert_array_equal(data.lengths(0), data.lengths(3))
    fresh = extracted(tmp_path / "n", setting, augment={"views": "fresh"})
    data, _ = inputs_of(job(tmp_path / "y"), fresh, "pooled")
    one, other = (data.gather(np.arange(8), epoch) for epoch in (0, 1))
    assert not np.allclose(one, other)
