"""Sentences: ours against plain KerasHub, with and without the cut, and from scratch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from components.artifacts import AssembledModel, Examples, Features, TrainedModel
from components.export import ExportConfig, export
from components.extract import ExtractConfig, extract
from components.fine_tune import FineTuneConfig, fine_tune
from components.modalities.table import open_reader
from components.served.opening import open_model
from components.train_from_scratch import train_from_scratch
from components.train_head import train_head
from components.training.head_config import HeadConfig
from components.training.heads import open_whole
from components.training.scratch import ScratchConfig
from tests.benchmarks.setting import Clock
from tests.helpers import PLAIN, assembled, ingested, job, tfds_of, views

LENGTH, BATCH = 64, 32
# Learning rates for all layers, and for the top two.
ALL, TOP = 5e-5, 2e-4
ODD = ["", "😀 well 👩‍👩‍👧", "word " * 2000, "crème brûlée", "[CLS] [SEP]"]


class Sentences:
    """The Stanford Sentiment Treebank and a preset."""

    def __init__(
        self, work: Path, data: Path, preset: Path, *, published: bool = True, **config: Any
    ) -> None:
        """`config` is the rest of `DataConfig`."""
        self.work, self.preset = work, preset
        self.examples: Examples = ingested(work / "examples", data, modality="text", **config)
        given: dict[str, Any] = {"backbone": str(preset), "sequence_length": LENGTH}
        pretrained = {"pretrained": None} if published else {}
        self.model: AssembledModel = assembled(work, self.examples, **pretrained, **given)

    def ours(
        self, clock: Clock, unfreeze: int | str, epochs: int, rate: float, *, cut: bool = True
    ) -> TrainedModel:
        """Extraction, a head, fine-tuning; without the cut, everything runs in every step."""
        # Too little for hidden states, enough for pooled features and tokens.
        budget = None if cut else 4000 * sum(self.examples.counts.values())
        features: Features = clock(
            extract,
            self.model,
            self.examples,
            unfreeze,
            views("text"),
            ExtractConfig(budget=budget),
            vectors="last",
            seed=0,
        )
        head = HeadConfig(epochs=20, learning_rate=3e-3, batch_size=128, dropout=0.0)
        trained = clock(train_head, features, head, PLAIN, seed=0)
        tune = FineTuneConfig(
            unfreeze=unfreeze,
            epochs=epochs,
            patience=epochs,
            learning_rate=rate,
            monitor="val_accuracy",
            warmup_epochs=0.3,
            weight_decay=0.01,
        )
        tuned: TrainedModel = clock(fine_tune, trained, features, tune, PLAIN, seed=0)
        return tuned

    def accuracy(self, model: TrainedModel) -> float:
        """On the test split, in memory."""
        classifier, reader = open_whole(model), open_reader(self.model)
        rows = list(tfds_of(self.examples, "test").as_numpy_iterator())
        labels = {row["id"]: row["label"] for row in rows}
        right = 0
        listed = [(row["id"], row["text"], [0]) for row in rows]
        for batch in reader.batches(lambda: listed, 64, augmented=False):
            answers = classifier.predict_on_batch(batch.inputs).argmax(axis=1)
            right += sum(labels[i] == answer for i, answer in zip(batch.ids, answers, strict=True))
        return right / len(rows)

    def table(self, split: str) -> tuple[list[str], np.ndarray]:
        rows = list(tfds_of(self.examples, split).as_numpy_iterator())
        return [r["text"].decode() for r in rows], np.array([r["label"] for r in rows])


def measure(work: Path, data: Path, preset: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    """Every comparison, told of as soon as it is made."""
    sentences = Sentences(work / "all", data, preset)
    clock = Clock(work / "stages")
    steps: list[tuple[str, int | str, int, float, int, list[bool]]] = [
        # What is trained, and the same in numbers: blocks, epochs, learning rate, layers that
        # KerasHub freezes.
        ("all layers, 2 epochs", "all", 2, ALL, 0, [True]),
        ("top 2 layers, 4 epochs", 2, 4, TOP, 4, [True, False]),
    ]
    for name, unfreeze, epochs, rate, frozen, cuts in steps:
        for cut in cuts:
            model = sentences.ours(clock, unfreeze, epochs, rate, cut=cut)
            row = {"ours": name, "cut": cut, **clock.seconds, "sum": sum(clock.seconds.values())}
            tell(row | {"accuracy": sentences.accuracy(model)})
            if model.before and unfreeze == "all":
                tell({"frozen, linear head": sentences.accuracy(model.before)})
                tell(agreement(work, sentences, model))
        seconds, accuracy = kerashub(sentences, epochs, rate, frozen)
        tell({"KerasHub": name, "sum": seconds, "accuracy": accuracy})
    few = Sentences(work / "few", data, preset, labels_per_class=250)
    tell({"500 sentences, 6 epochs": few.accuracy(few.ours(Clock(work / "f"), "all", 6, ALL))})
    tell({"5,000 sentences from scratch": from_scratch(work / "scratch", data, preset)})


def kerashub(
    sentences: Sentences, epochs: int, rate: float, frozen: int = 0
) -> tuple[float, float]:
    """(seconds, test accuracy) of KerasHub's own classifier and `fit`, as its guide has it.

    Args:
        frozen: so many transformer layers from the bottom, and the embeddings, do not train.
    """
    train, validation, test = (sentences.table(s) for s in ("train", "validation", "test"))
    keras.utils.set_random_seed(0)
    started = time.monotonic()
    preset = str(sentences.preset)
    backbone = keras_hub.models.BertBackbone.from_preset(preset)
    if frozen:
        for layer in backbone.layers:
            number = layer.name.removeprefix("transformer_layer_")
            layer.trainable = number.isdecimal() and int(number) >= frozen
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        keras_hub.models.BertTokenizer.from_preset(preset), sequence_length=LENGTH
    )
    classifier = keras_hub.models.BertTextClassifier(
        backbone,
        outputs=[("probabilities", 2, "softmax")],
        preprocessor=preprocessor,
        activation="softmax",
    )
    steps = epochs * -(-len(train[0]) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=rate, warmup_steps=steps // 10
    )
    classifier.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    classifier.fit(
        np.array(train[0]),
        train[1],
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(np.array(validation[0]), validation[1]),
        verbose=0,
    )
    seconds = time.monotonic() - started
    answers = classifier.predict(np.array(test[0]), batch_size=BATCH, verbose=0).argmax(axis=1)
    return seconds, float(np.mean(answers == test[1]))


def from_scratch(work: Path, data: Path, preset: Path) -> float:
    """Test accuracy of the same network, from random weights, on 5,000 sentences."""
    sentences = Sentences(work, data, preset, published=False, labels_per_class=2500)
    features = extract(
        job(work / "inputs"),
        sentences.model,
        sentences.examples,
        "all",
        views("text"),
        ExtractConfig(),
        vectors="none",
        seed=0,
    )
    config = ScratchConfig(epochs=8, learning_rate=2e-4, warmup_epochs=0.5, patience=3)
    return sentences.accuracy(
        train_from_scratch(job(work / "scratch"), features, config, PLAIN, seed=0)
    )


def agreement(work: Path, sentences: Sentences, model: TrainedModel) -> dict[str, Any]:
    """The exported model against the one in memory, on 1,000 raw texts, some of them odd."""
    exported = export(job(work / "export"), model, sentences.examples, ExportConfig())
    texts = [*ODD, *sentences.table("test")[0]][:1000]
    serve = open_model(exported.path, "text")
    classifier, reader = open_whole(model), open_reader(sentences.model)
    worst, tokens = 0.0, 0
    for start in range(0, len(texts), 50):
        raws = [text.encode() for text in texts[start : start + 50]]
        answer = serve(raw=tf.constant(raws))
        valid = answer["valid"].numpy()
        read = reader.read([""] * len(raws), raws, [0] * len(raws)).inputs
        expected = classifier.predict_on_batch(read)
        served = tf.function(reader.serve)(tf.constant(raws))[0]
        tokens += sum(not np.array_equal(a, b) for a, b in zip(served, read, strict=True))
        difference = np.abs(answer["probabilities"].numpy() - expected)[valid]
        worst = max(worst, float(difference.max()))
    return {"texts": len(texts), "largest difference": worst, "batches of other tokens": tokens}
