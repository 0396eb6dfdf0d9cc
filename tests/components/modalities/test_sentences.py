"""Sentences through the whole flow, with tiny random giants."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.examples import dataset
from components.examples.placing import INDEX
from components.examples.sources import find_source
from components.files import read_jsonl
from components.modalities.giants import ModelConfig
from components.modalities.sentences import giants as presets
from components.modalities.sentences import raw as sentences
from components.modalities.sentences.raw import SentencesConfig
from components.served.agreement import TOLERANCE
from components.served.opening import open_model
from models.encoders import FAMILIES
from models.mistakes import Mistake
from pipeline import api
from tests.helpers import ingested, tfds_of
from tests.presets import GOOD, write_preset, write_table
from tests.presets import sentences as written

Call = Callable[..., tuple[int, str, str]]
WEIRD = [
    "The film was GOOD.",
    "crème brûlée naïve",
    "😀 emoji ok 👩‍👩‍👧",
    "[CLS] good [SEP] <s> </s> <pad>",
    "中文字符 and more",
    "tab\tnew\nline",
    "x" * 300,
    "good " * 2000,
    "١٢٣ ﬁne ½ İ ß",
    "a",
]
UNUSABLE = [b"", b"   ", "\u00a0\u2003".encode(), b"\xff\xfe good", b"\t\n"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Seconds: a tiny random BERT, 2 × 40 sentences."""
    table = write_table(tmp_path / "texts.jsonl", 40)
    preset = write_preset("BERT", tmp_path / "bert")
    return write_recipe(tmp_path / "tiny.toml", table, preset)


def write_recipe(path: Path, table: Path, preset: Path) -> Path:
    path.write_text(
        f"""
[data]
path = "{table}"
modality = "text"
[model]
backbone = "{preset}"
[sentences]
sequence_length = 16
[head]
epochs = 20
learning_rate = 0.03
[fine_tune]
unfreeze = 1
epochs = 2
learning_rate = 1e-3
[bless]
beat_trivial = false
[control]
enabled = false
"""
    )
    return path


def test_pulse(in_process: Call, recipe: Path, tmp_path: Path) -> None:
    """Every stage; raw strings are served; the same again is reused; predict takes sentences."""
    arguments = ("run", recipe, "--store", tmp_path / "store", "--json")
    status, out, err = in_process(*arguments)
    assert status == 0, err
    result = json.loads(out)
    stats = {stage["name"]: stage["stats"] for stage in result["stages"]}
    assert stats["assemble"]["blocks"][0] == "stem"
    assert stats["extract"]["block"] == "transformer_layer_2"
    assert stats["fine_tune"]["moved"] > 0
    assert result["metrics"]["test"]["accuracy"] > 0.6
    page = Path(result["report"]).read_text()
    assert "BERT" in page

    status, out, _ = in_process(*arguments)
    assert {stage["status"] for stage in json.loads(out)["stages"]} == {"reused"}

    pushed = result["pushed"]
    status, out, err = in_process("predict", pushed, "the film was great", " ", "--json")
    assert status == 0, err
    first, second = json.loads(out)
    assert first["valid"]
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert not second["valid"]
    contract = json.loads((Path(pushed) / "assets.extra" / "contract.json").read_text())
    assert contract["tokenizer"] == "BertTokenizer"
    assert contract["most_tokens"] == 16

    row = api.lab(store=tmp_path / "store").batch()["rows"][0]
    tokens = base64.b64decode(row["views"][0]["data"]).decode().split()
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    assert 2 < len(tokens) <= 16


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=pytest.mark.slow if family == "BERT" else pytest.mark.exhaustive)
        for family in FAMILIES
    ],
)
def test_every_family_is_exported_and_agrees(family: str, in_process: Call, tmp_path: Path) -> None:
    """`export` compares; here also what is odd, what is unusable, and in one batch or alone."""
    table = write_table(tmp_path / "texts.jsonl", 30)
    preset = write_preset(family, tmp_path / "preset")
    recipe = write_recipe(tmp_path / "tiny.toml", table, preset)
    store = ("--store", tmp_path / "store", "--json")
    status, out, err = in_process(
        "run", recipe, *store, "--head.epochs", 2, "--fine-tune.epochs", 1
    )
    assert status == 0, err
    serve = open_model(Path(json.loads(out)["pushed"]), "text")
    raws = [text.encode() for text in WEIRD] + UNUSABLE
    together = serve(raw=tf.constant(raws))
    assert together["valid"].numpy().tolist() == [True] * len(WEIRD) + [False] * len(UNUSABLE)
    probabilities = together["probabilities"].numpy()
    assert len(np.unique(probabilities[: len(WEIRD), 0].round(6))) > 4
    for raw, expected in zip(raws, probabilities, strict=True):
        alone = serve(raw=tf.constant([raw]))["probabilities"].numpy()[0]
        np.testing.assert_allclose(alone, expected, atol=TOLERANCE)


@pytest.mark.exhaustive
def test_a_giant_pretrained_here_and_a_control(
    in_process: Call, recipe: Path, tmp_path: Path
) -> None:
    """On other sentences first; the control has the same tokenizer and random weights."""
    table = write_table(tmp_path / "others.jsonl", 70)
    status, out, err = in_process(
        *("run", recipe, "--store", tmp_path / "store", "--json", "--bless.force", "a test"),
        *("--model.weights", "pretrain", "--pretrain.data.path", table),
        *("--pretrain.data.modality", "text", "--pretrain.epochs", "3"),
        *("--control.enabled", "--control.epochs", "1"),
    )
    assert status == 0, err
    result = json.loads(out)
    assert set(result["metrics"]) == {"test", "control", "shortcut"}
    assert "transferring" in " ".join(result["reasons"])


def test_what_is_usable() -> None:
    assert sentences.check("brûlée 😀".encode()) == {"characters": 8, "words": 2}
    for raw in UNUSABLE:
        with pytest.raises(
            ValueError, match=r"is empty|is not UTF-8: invalid start byte at byte 0"
        ):
            sentences.check(raw)
    with pytest.raises(ValueError, match="has 1,000,001 characters"):
        sentences.check(b"a" * 1_000_001)


def test_what_is_the_same() -> None:
    same = {sentences.canonical(t.encode()) for t in ("Good film!", "good  FILM", "ｇood film ...")}
    assert len(same) == 1
    for one, other in (("!!!", "???"), ("की", "का"), ("C++", "C"), ("👍", "👎")):
        assert sentences.canonical(one.encode()) != sentences.canonical(other.encode())


def _csv(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"\n".join([b"text,label", *rows]) + b"\n")
    return path


def test_rows_that_cannot_be_used_are_quarantined_by_number(tmp_path: Path) -> None:
    rows = [f"{text},{label}".encode() for label in (0, 1) for text in written(label, 10)]
    rows[3] = b"caf\xe9 was fine,0"
    rows[5] = b'"  ",0'
    examples = ingested(tmp_path / "e", _csv(tmp_path / "texts.csv", rows), modality="text")
    quarantine = {row["name"]: row["reason"] for row in examples.stats["quarantine"]}
    assert quarantine == {
        "texts.csv:4": "is not UTF-8: invalid continuation byte at byte 3",
        "texts.csv:6": "is empty",
    }
    assert sum(examples.counts.values()) == 18


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    table = write_table(tmp_path / "texts.jsonl", 10)
    table.write_text(table.read_text() + '{"text": "half \\ud83d", "label": "good"}\n')
    examples = ingested(tmp_path / "e", table, modality="text")
    [row] = examples.stats["quarantine"]
    assert row["name"] == "texts.jsonl:21"
    assert row["reason"].startswith("is not UTF-8")


def test_duplicates_stay_on_one_side_and_out_of_training_where_they_are_tested(
    tmp_path: Path,
) -> None:
    texts = [text for label in (0, 1) for text in written(label, 30)]
    table = tmp_path / "texts.jsonl"
    rows: list[dict[str, Any]] = [{"text": t, "label": t.split()[3] in GOOD} for t in texts]
    rows += [row | {"text": f"  {row['text'].upper()}!"} for row in rows]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = ingested(tmp_path / "e", table, modality="text")
    sides: dict[str, set[str]] = {}
    for line in (examples.directory / "index.jsonl").read_text().splitlines():
        row = json.loads(line)
        sides.setdefault(row["same"], set()).add(row["split"])
    assert len(sides) == 60
    assert all(len(splits) == 1 for splits in sides.values())

    given = tmp_path / "given"
    given.mkdir()
    _csv(given / "train.csv", [f"{text},{i % 2}".encode() for i, text in enumerate(texts)])
    _csv(
        given / "test.csv",
        [b"THE FILM WAS BAD AND BAD!,0", *(b"something else %d,1" % i for i in (1, 2))],
    )
    assert texts[0] == "the film was bad and bad"
    examples = ingested(tmp_path / "f", given, modality="text")
    [aside] = examples.stats["quarantine"]
    assert aside["name"] == "train.csv:1"
    assert aside["reason"].endswith("says the same as an example in test")


def test_one_text_with_two_answers_has_both(tmp_path: Path) -> None:
    rows = [f"so so {i % 10},{label}".encode() for i, label in enumerate(["good", "bad"] * 20)]
    examples = ingested(tmp_path / "e", _csv(tmp_path / "t.csv", rows), modality="text")
    for split in examples.counts:
        index = read_jsonl(examples.directory / INDEX)
        expected = {row["name"]: row["answers"] for row in index if row["split"] == split}
        answers = dataset.answers(examples, split)
        rows_of = list(dataset.rows(examples, split))
        assert len(rows_of) == len(expected) == examples.counts[split]
        for row in rows_of:
            assert answers(row) == expected[row.name]


def test_folders_of_text_files(tmp_path: Path) -> None:
    for label in (0, 1):
        for number, text in enumerate(written(label, 8)):
            path = tmp_path / "texts" / ("bad", "good")[label] / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    examples = ingested(tmp_path / "e", tmp_path / "texts", modality="text")
    assert examples.targets[0].space.labels == ("bad", "good")
    [row] = tfds_of(examples, "test").take(1).as_numpy_iterator()
    assert row["text"].decode().startswith("the ")
    again = ingested(tmp_path / "f", f"tfds:{examples.dataset}", modality="text")
    assert again.counts == examples.counts


def _no_preset(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _another_kind(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    return folder


def _another_tokenizer(folder: Path) -> Path:
    write_preset("BERT", folder)
    tokenizer = folder / "assets" / "tokenizer" / "vocabulary.txt"
    tokenizer.write_text("".join(f"{w}\n" for w in tokenizer.read_text().split()[:30]))
    return folder


def _no_tokenizer(folder: Path) -> Path:
    write_preset("BERT", folder)
    shutil.rmtree(folder / "assets")
    return folder


def _no_weights(folder: Path) -> Path:
    write_preset("BERT", folder)
    (folder / "model.weights.h5").unlink()
    return folder


PRESETS = [
    (_no_preset, "must be a preset's folder, with a config.json in it"),
    (_another_kind, "must be of one of the families BERT, RoBERTa"),
    (_another_tokenizer, "a tokenizer that belongs to its weights, got"),
    (_no_tokenizer, "model.backbone must hold a tokenizer of BERT, got"),
    (_no_weights, "model.backbone must hold weights as .safetensors or .weights.h5, got"),
]


@pytest.mark.parametrize(("write", "said"), PRESETS, ids=[said[:40] for _, said in PRESETS])
def test_presets_that_are_none(
    in_process: Call, tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    table = write_table(tmp_path / "texts.jsonl", 10)
    recipe = write_recipe(tmp_path / "tiny.toml", table, write(tmp_path / "preset"))
    status, _, err = in_process("run", recipe, "--store", tmp_path / "store")
    assert status == 2
    assert said in err.splitlines()[-1]


MISTAKES = [
    (["--sentences.sequence-length", "99"], "must be at most the 24 positions that the model has"),
    (["--photos.input-size", "99"], "photos.input_size must be left out for text, got 99"),
    (["--model.pooling", "max"], "model.pooling must be one of auto, mean, cls, last for text"),
    (["--model.weights", "pretrain"], "pretrain.data.modality must be that of the data, text"),
    (["--augment.policies", "flip"], "augment.policies must be policies for text, got 'flip'"),
    (["--model.weights", "imagenet"], "model.weights must be pretrained, none, pretrain or a"),
    (
        ["--augment.views", "2", "--augment.policies", "backtranslation"],
        "sentences.translator must be MODULE:FUNCTION that can be imported",
    ),
    (
        [
            *("--augment.views", "2", "--augment.policies", "backtranslation"),
            *("--sentences.translator", "math:sin"),
        ],
        "sentences.translator must translate texts, got TypeError from math:sin: must be real",
    ),
    (["--augment.views", "2", "--augment.policies", "wordnet"], "got 'wordnet' without NLTK"),
    (["--fine-tune.unfreeze", "all", "--fine-tune.mixup", "0.2"], "mixup must be 0 where tokens"),
]


def test_a_recipe_names_nothing_to_be_run(in_process: Call, recipe: Path, tmp_path: Path) -> None:
    translator = "subprocess:getoutput"
    status, shown, _ = in_process("show", recipe, "--sentences.translator", translator)
    assert status == 0
    assert f"# translator = {translator}" in shown
    recipe.write_text(f'sentences.translator = "{translator}"\n')
    status, _, err = in_process("run", recipe, "--store", tmp_path / "store")
    assert status == 2
    assert "must not have sentences.translator, got 'subprocess:getoutput'" in err


def test_mistakes_are_named(in_process: Call, recipe: Path, tmp_path: Path) -> None:
    for arguments, said in MISTAKES:
        status, _, err = in_process("run", recipe, "--store", tmp_path / "store", *arguments)
        assert status == 2, (arguments, err)
        assert said in err.splitlines()[-1], err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([b",0", b",1", b",0"], "where it is empty in all 3 rows"),
        ([b"1,0", b"2.5,1", b"-3,0"], "where all are numbers, such as '1'"),
        ([b"good,caf\xe9", b"bad,x", b"dull,x"], "must have labels in UTF-8, got row 1"),
    ],
)
def test_columns_without_texts(tmp_path: Path, rows: list[bytes], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        find_source(str(_csv(tmp_path / "texts.csv", rows)), modality="text")


def test_a_preset_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("kagglehub.model_download", unreachable)
    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    for name in ("bert_tiny_en_uncased", "hf://some/thing", "kaggle://keras/bert/keras/x/1"):
        with pytest.raises(Mistake, match=r"no route to host.*name its folder with --model.back"):
            presets.find(ModelConfig(backbone=name), SentencesConfig(), download=True)
    with pytest.raises(Mistake, match="got 'bert_tiny': did you mean bert_tiny_en_uncased"):
        presets.find(ModelConfig(backbone="bert_tiny"), SentencesConfig(), download=True)


def test_what_it_is_compared_with_is_another_network(
    in_process: Call, recipe: Path, tmp_path: Path
) -> None:
    """A bag of the same tokens: also where the giant has random weights, too."""
    status, out, err = in_process(
        *("run", recipe, "--store", tmp_path / "store", "--json", "--bless.force", "a test"),
        *("--model.weights", "none", "--control.enabled", "true", "--control.epochs", "3"),
        *("--control.network", "never"),
        *("--fine-tune.epochs", "0", "--head.epochs", "1"),
    )
    assert status == 0, err
    result = json.loads(out)
    made = {stage["name"]: stage for stage in result["stages"]}
    assert made["control.assemble"]["artifact"] != made["assemble"]["artifact"]
    assert "bag of words" in made["control.train_control"]["stats"]["network"]
    plan = ("plan", recipe, "--store", tmp_path / "store", "--model.weights", "none")
    assert in_process(*plan, "--fine-tune.unfreeze", "2")[0] == 0  # Of the giant, not of the bag.
