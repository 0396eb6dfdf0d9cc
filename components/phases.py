"""What every phase of training shares: its config, its progress and its history."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from etils import epy
from pydantic import Field

from components.files import write_json
from components.job import Job, Section
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from models import training


class PhaseConfig(Section):
    """Length, learning rate, and early stopping under Keras's names."""

    epochs: int = Field(20, ge=0, le=10_000)
    """Most epochs to train."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine."""
    batch_size: int = Field(32, ge=1)
    """Examples a step."""
    patience: int = Field(5, ge=0)
    """Epochs without a better validation loss before training stops."""
    min_delta: float = Field(0.0, ge=0)
    """The least change of validation loss that counts as better."""
    start_from_epoch: int = Field(0, ge=0)
    """The first epoch whose weights may be the best."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs in which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's; biases and norms are left out."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes."""


class FileCheckpoint:
    """The state of a phase in one file, which is whole or absent.

    Keras's BackupAndRestore does not survive SIGKILL: a file that is half written stays. This
    one is written beside, made durable and renamed. It takes at most a tenth of the time: an
    epoch that is cheaper to run again than to write down is not written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cost = 0.0
        self._saved = time.monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        if not self._path.exists():
            return None
        with np.load(self._path) as archive:
            return dict(archive)

    def save(self, state: dict[str, np.ndarray]) -> None:
        started = time.monotonic()
        if started - self._saved < 10 * self._cost:
            return
        temporary = self._path.with_suffix(".writing")
        with temporary.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._saved = time.monotonic()
        self._cost = self._saved - started


def require_finite(history: training.History, section: str, config: PhaseConfig) -> None:
    """A `Mistake` where training blew up, so that nothing is made of its weights."""
    if not np.isfinite(history.best["val_loss"]):
        raise Mistake(
            f"{section}.learning_rate must be low enough for validation loss to stay finite, got "
            f"{config.learning_rate}"
        )


def run_phase(
    job: Job,
    name: str,
    model: keras.Model,
    data: tuple[training.Data, training.Data],
    config: PhaseConfig,
    seed: int,
) -> training.History:
    """Train `model` on (training, validation) data and write `history.json`."""

    def on_epoch(epoch: int, logs: dict[str, float]) -> None:
        figures = f"loss {logs['val_loss']:.3f}, accuracy {logs['val_accuracy']:.3f} on validation"
        job.progress(name, epoch + 1, config.epochs, figures)

    history = training.train(
        model,
        *data,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        seed=seed,
        weight_decay=config.weight_decay,
        warmup_epochs=config.warmup_epochs,
        label_smoothing=config.label_smoothing,
        patience=config.patience,
        min_delta=config.min_delta,
        start_from_epoch=config.start_from_epoch,
        on_epoch=on_epoch,
        checkpoint=FileCheckpoint(job.scratch / "checkpoint.npz"),
    )
    write_json(
        job.directory / "history.json",
        {"epochs": history.epochs, "best_epoch": history.best_epoch},
    )
    return history
