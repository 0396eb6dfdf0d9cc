"""What both benchmarks share: the task, and our stages with a clock around each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.artifacts import AssembledModel, Examples, Features, TrainedModel
from components.extract import ExtractConfig, extract
from components.fine_tune import FineTuneConfig, fine_tune
from components.modalities.photos import raw as photos
from components.train_head import train_head
from components.training.head_config import HeadConfig
from tests.helpers import PLAIN, assembled, ingested, job, tfds_of
from tests.helpers import views as views_of

Tell = Callable[[dict[str, Any]], None]
HEAD_EPOCHS, TUNE_EPOCHS, BATCH, CUT = 20, 10, 32, "block_13"


class Nobody:
    """A log that nobody reads."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@dataclass(frozen=True)
class Task:
    """Photographs and MobileNetV2 at 224 pixels with ImageNet weights."""

    work: Path
    examples: Examples
    model: AssembledModel

    @classmethod
    def of(cls, work: Path, photographs: Path) -> Task:
        examples = ingested(work / "examples", photographs)
        return cls(work, examples, assembled(work, examples, pretrained=None))

    def decoded(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """All pictures of a split as the network reads them, and their class numbers."""
        rows = list(tfds_of(self.examples, split).as_numpy_iterator())
        form = photos.Picture(**self.model.form)
        images = np.stack([photos.decode(form, tf.constant(row["image"])).numpy() for row in rows])
        return images, np.array([row["label"] for row in rows])


class Clock:
    """Our stages, each timed, and each epoch of them.

    Attributes:
        seconds: of each stage.
        epochs: the moments at which a stage told of an epoch.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seconds: dict[str, float] = {}
        self.epochs: dict[str, list[float]] = {}

    def __call__(self, stage: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        name = stage.__name__
        target = self.directory / name
        shutil.rmtree(target, ignore_errors=True)
        moments = self.epochs.setdefault(name, [])
        moments.clear()

        def tell(*_: Any) -> None:
            moments.append(time.monotonic())

        work = job(target)
        object.__setattr__(work, "progress", tell)
        started = time.monotonic()
        result = stage(work, *args, **kwargs)
        self.seconds[name] = time.monotonic() - started
        return result

    def extract(self, task: Task, seed: int, views: int = 1) -> Features:
        augment, settings = views_of(views=views), ExtractConfig()
        features: Features = self(
            extract, task.model, task.examples, CUT, augment, settings, vectors="last", seed=seed
        )
        return features

    def train(self, features: Features, seed: int, learning_rate: float = 1e-3) -> TrainedModel:
        head = HeadConfig(epochs=HEAD_EPOCHS, learning_rate=learning_rate, patience=HEAD_EPOCHS)
        trained = self(train_head, features, head, PLAIN, seed=seed)
        tune = FineTuneConfig(unfreeze=CUT, epochs=TUNE_EPOCHS, patience=TUNE_EPOCHS)
        tuned: TrainedModel = self(fine_tune, trained, features, tune, PLAIN, seed=seed)
        return tuned
