"""What every phase of training shares: its config, its progress and its history."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import numpy as np
from etils import epy
from pydantic import Field

from components.artifacts import TrainedModel
from components.files import read_json, write_json
from components.job import Job
from components.section import Section
from components.training.alerts import Alerts
from components.training.board import VALIDATION, Board
from components.training.checkpoint import FileCheckpoint
from components.training.data import TrainingData
from components.training.shown import Shown
from models.mistakes import Mistake
from models.updates import UpdateRatios

with epy.lazy_imports():
    import keras

    from models import freezing, minibatches, optimization, training


NO_GROUPS: Mapping[str, str] = MappingProxyType({})


class PhaseConfig(Section):
    """Length, learning rate, what is minimized, and early stopping under Keras's names."""

    epochs: int = Field(20, ge=0, le=10_000)
    """Most epochs to train."""
    learning_rate: Any = 1e-3
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs in which the learning rate rises from 0."""
    batch_size: int = Field(32, ge=1)
    """Examples a step."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's; biases and norms are left out."""
    clip_norm: float = Field(0.0, ge=0)
    """The gradient is made no longer than this; 0 leaves it as it is."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Momentum of a moving average of the weights, which is what is kept; 0 for none."""
    mixup: float = Field(0.0, ge=0, le=10)
    """Alpha of MixUp on what the phase reads, features or activations; 0 for none."""
    mixup_with: Literal["any", "same"] = "any"
    """What an example is mixed with: any other, or one of the same answer, which stays."""
    monitor: str = "val_loss"
    """What early stopping looks at: val_loss, or val_ and what the task watches, such as
    val_accuracy, val_label_accuracy or val_mae."""
    patience: int = Field(5, ge=0)
    """Epochs without a better `monitor` before training stops."""
    min_delta: float = Field(0.0, ge=0)
    """The least change of `monitor` that counts as better."""
    start_from_epoch: int = Field(0, ge=0)
    """The first epoch whose weights may be the best."""
    restore_best_weights: bool = True
    """Keep the weights of the best epoch, not of the last."""

    @property
    def stopping(self) -> dict[str, Any]:
        """What early stopping goes by."""
        names = ("epochs", "patience", "monitor", "min_delta", "start_from_epoch")
        return {name: getattr(self, name) for name in names}


def rate_or_auto(section: str, value: Any) -> Any:
    """A learning rate, or `auto`; the command line has only strings."""
    if value == "auto":
        return value
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = 0.0
    if not 0 < rate <= 10:
        raise Mistake(
            f"{section}.learning_rate must be above 0 and at most 10, or 'auto', got {value}"
        )
    return rate


C = TypeVar("C", bound=PhaseConfig)


def as_long_as(model: TrainedModel, config: C) -> C:
    """The config with as many epochs as were best for `model`, whose last weights are kept."""
    epochs = read_json(model.directory / "history.json")["best_epoch"] + 1
    return config.model_copy(
        update={"epochs": epochs, "patience": epochs, "restore_best_weights": False}
    )


def require_finite(history: training.History, section: str, config: PhaseConfig) -> None:
    """A `Mistake` where training blew up, so that nothing is made of its weights."""
    if not np.isfinite(history.best["val_loss"]):
        raise Mistake(
            f"{section}.learning_rate must be low enough for validation loss to stay finite, got "
            f"{config.learning_rate}"
        )


def decided(job: Job, name: str, decide: Callable[[], Any]) -> Any:
    """What `decide` gives, once: a run that is resumed goes on with what was decided before."""
    path = job.scratch / f"{name}.json"
    if not path.exists():
        write_json(path, decide())
    return read_json(path)


def train_phase(
    model: keras.Model,
    data: TrainingData,
    config: PhaseConfig,
    seed: int,
    *,
    first_epoch: int = 0,
    rates: Mapping[str, float] | None = None,
    anchors: Mapping[str, Any] | None = None,
    pull: float = 0.0,
    precision: str | None = None,
    on_begin: training.OnBegin | None = None,
    on_epoch: training.OnEpoch | None = None,
    on_step: training.OnStep | None = None,
    checkpoint: FileCheckpoint | None = None,
) -> training.History:
    """Train `model` as `config`, whose learning rate is a number, says; see `training.train`.

    Args:
        rates: a variable's path → what its learning rate is multiplied by; `anchors` and `pull`:
            what it is drawn back to, and how strongly; see `optimization.LayerwiseAdamW`.
        precision: what the network multiplies in, where not in float32.
    """
    steps = data.training.steps(config.batch_size)
    return training.train(
        model,
        data.training,
        data.validation,
        optimizer=optimization.build_optimizer(
            learning_rate=float(config.learning_rate),
            steps=config.epochs * steps,
            warmup_steps=round(config.warmup_epochs * steps),
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
            ema=config.ema,
            rates=rates,
            anchors=anchors,
            pull=pull,
            precision=precision,
        ),
        objective=data.objective,
        length=training.Length(config.epochs, config.batch_size, first_epoch),
        seed=seed,
        mixup=minibatches.Mixup(config.mixup, config.mixup_with == "same"),
        stopping=training.Stopping(
            monitor=config.monitor,
            patience=config.patience,
            min_delta=config.min_delta,
            start_from_epoch=config.start_from_epoch,
            restore_best_weights=config.restore_best_weights,
        ),
        on_begin=on_begin,
        on_epoch=on_epoch,
        on_step=on_step,
        checkpoint=checkpoint,
    )


def run_phase(
    job: Job,
    name: str,
    model: keras.Model,
    data: TrainingData,
    config: PhaseConfig,
    seed: int,
    *,
    section: str,
    others: Sequence[keras.Model] = (),
    groups: Mapping[str, str] = NO_GROUPS,
    **arguments: Any,
) -> Phase:
    """`train_phase` that can be resumed, and that proves that nothing frozen moved.

    Args:
        name: of the phase: of its progress, and of what a killed run goes on from.
        section: of the config, for what is told where training goes wrong.
        others: further models, which must not move but for what they share with `model`.
        groups: a variable's path → the block it belongs to; of others, the head.
        arguments: of `train_phase`.
    """

    # The phases of gradual unfreezing have numbers.
    board = Board(job.directory / "tensorboard" / name.partition(" ")[2])
    stopping = config.stopping | {"more_is_better": data.objective.more_is_better(config.monitor)}
    updates = UpdateRatios(model.trainable_variables, groups)
    shown = Shown(job, name, stopping, updates, Alerts(section))

    def on_epoch(epoch: int, logs: dict[str, float]) -> None:
        board.write(epoch, logs)
        shown.end_epoch(epoch, logs)

    weights = freezing.named_weights(model, *others)
    before, frozen = freezing.snapshot(weights), freezing.frozen_names(model, weights)
    checkpoint = FileCheckpoint(job.scratch / f"{name}.npz")
    job.doing("compiling")
    with contextlib.closing(board):
        history = train_phase(
            model,
            data,
            config,
            seed,
            on_begin=shown.begin,
            on_epoch=on_epoch,
            on_step=shown.step,
            checkpoint=checkpoint,
            **arguments,
        )
    shown.end(history.best_epoch)
    job.doing("writing the weights")
    moved = freezing.movement(weights, before)
    if offenders := sorted(moved.keys() & frozen):
        raise RuntimeError(f"frozen weights moved in {name}: {', '.join(offenders[:5])}")
    return Phase(history, moved, tuple(sorted(frozen)), stopping, shown.by_hand)


@dataclass(frozen=True)
class Phase:
    """What a phase of training did, and the proof of what it did not.

    Attributes:
        moved: each weight that is not what it was → its largest change in any one phase.
        frozen: the weights that were not to move, and did not: BatchNormalization's statistics
            among them.
        stopping: the most `epochs`, and after how many without a better `monitor` it ends
            (`patience`), from which epoch on, and whether more of that is better.
        by_hand: a person has ended it.
    """

    history: training.History
    moved: dict[str, float]
    frozen: tuple[str, ...]
    stopping: dict[str, Any]
    by_hand: bool = False

    @property
    def monitor(self) -> str:
        """What early stopping looked at."""
        return str(self.stopping["monitor"])

    @property
    def is_no_worse(self) -> bool:
        """Than before it, in what is monitored; NaN is worse."""
        now, was = (known[self.monitor] for known in (self.history.best, self.history.before))
        return now >= was if self.stopping["more_is_better"] else now <= was

    @property
    def cut_short(self) -> str:
        """Why it was not trained for as long as was asked, as half a sentence."""
        count = len(self.history.epochs)
        return f"it was ended by hand in epoch {count}" if self.by_hand else ""

    @property
    def change(self) -> str:
        """What has become of the validation figures, in words."""
        was, now = self.history.before, self.history.best
        said = f"validation loss {was['val_loss']:.4f} before, {now['val_loss']:.4f} after"
        if self.monitor != "val_loss":
            name = self.monitor.removeprefix(VALIDATION)
            said += f", {name} {was[self.monitor]:.3f} and {now[self.monitor]:.3f}"
        return said

    @property
    def stats(self) -> dict[str, Any]:
        """Figures after it and before it, and how much moved."""
        before = {f"before_{name}": value for name, value in self.history.before.items()}
        figures = {"epochs": len(self.history.epochs), **self.history.best, **before}
        return figures | {"moved": len(self.moved), "frozen": len(self.frozen)}

    def then(self, later: Phase, *, kept: bool = True) -> Phase:
        """This phase and a later one as one, with the later one's weights if they are `kept`."""
        done = self.history.epochs
        best = len(done) + later.history.best_epoch if kept else self.history.best_epoch
        history = training.History(done + later.history.epochs, best, self.history.before)
        frozen = tuple(sorted({*self.frozen} & {*later.frozen}))
        moved = later.moved if kept else {}
        most = {
            name: max(self.moved.get(name, 0.0), moved.get(name, 0.0))
            for name in self.moved | moved
        }
        by_hand = self.by_hand or later.by_hand
        return replace(self, history=history, moved=most, frozen=frozen, by_hand=by_hand)

    def merged(self, kernels: Mapping[str, float]) -> Phase:
        """This phase, after LoRA's matrices were merged into kernels, which moved so far."""
        own = {name: most for name, most in self.moved.items() if "/lora_kernel_" not in name}
        frozen = tuple(name for name in self.frozen if name not in kernels)
        return replace(self, moved=own | dict(kernels), frozen=frozen)

    def write(self, directory: Path) -> None:
        """`history.json` and `audit.json`."""
        epochs, best = self.history.epochs, self.history.best_epoch
        stopping = {name: self.stopping[name] for name in ("epochs", "patience", "monitor")}
        write_json(
            directory / "history.json",
            {"epochs": epochs, "best_epoch": best, "stopping": stopping},
        )
        write_json(directory / "audit.json", {"moved": self.moved, "frozen": self.frozen})
