"""fine_tune: unfreeze the top of the backbone and go on at a far lower learning rate."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from etils import epy
from pydantic import Field, field_validator

from components.artifacts import HELD_OUT, AssembledModel, Features, TrainedModel
from components.disk import save_weights
from components.files import read_json, write_json
from components.frozen.networks import block_starts, open_backbone, tail
from components.job import Job, stage
from components.judging import forgetting
from components.section import duration
from components.tasks.learning import Learning
from components.training import paired
from components.training.data import training_data
from components.training.drift import Drift, between
from components.training.heads import open_head
from components.training.phases import Phase, PhaseConfig, as_long_as, decided, run_phase
from models.mistakes import Mistake
from models.updates import LORA

with epy.lazy_imports():
    import keras

    from models import distribution, folding, freezing, hardware, heads, lora, splitting


class FineTuneConfig(PhaseConfig):
    """Selective unfreezing."""

    unfreeze: int | str = 0
    """What to unfreeze: a block's name, a number of blocks from the top, a share of them such as
    25%, `all`, or 0."""
    gradual: bool = False
    """One block at a time from the top; the next when `monitor` stops improving."""
    epochs: int = Field(10, ge=0, le=10_000)
    """Most epochs to train."""
    learning_rate: float = Field(1e-5, gt=0, le=1)
    """Adam's for the top block, at its highest: it rises for `warmup_epochs`, then falls along a
    cosine."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each block below the top has the learning rate of the one above times this."""
    head_ratio: float = Field(1.0, gt=0, le=1e4)
    """The head's learning rate as a multiple of the top block's."""
    l2_sp: float = Field(0.0, ge=0, le=1e4)
    """L2-SP: how strongly the weights of the unfrozen blocks are drawn back to the pretrained ones
    in each step, by this times the learning rate of how far they are; forgets less. 0 for not."""
    lora_rank: int = Field(0, ge=0, le=1024)
    """LoRA: train two small matrices of this rank beside each dense layer and convolution of the
    unfrozen blocks, and nothing else in them; merged into the weights at the end. 0 for none."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the unfrozen blocks multiply in; weights, head and export are always float32. `auto` is
    16 bits where the hardware is faster in them."""
    interpolate: float | Literal["auto"] = 1.0
    """How far to go from the weights before to the fine-tuned ones (WiSE-FT, arXiv:2109.01903):
    less than 1 forgets less; `auto` finds the point that is best on validation examples, and of
    those as good the one that forgets least."""
    patience: int = Field(3, ge=0)
    """Epochs without a better `monitor` before training stops."""

    @field_validator("unfreeze", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """The command line has only strings, and no block is called by a number."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("interpolate", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        """The command line has only strings."""
        if value == "auto":
            return value
        try:
            share = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1:
            raise Mistake(f"fine_tune.interpolate must be 0 to 1, or 'auto', got {value}")
        return share


@dataclass(frozen=True)
class Rung:
    """One of several ways to fine-tune, from cheap to dear, of which no more is taken than helps.

    Attributes:
        name: of the way.
        budget: seconds that all of them may take; 0 for no limit.
    """

    name: str
    budget: int = 0


@stage(version=10, any_backend=True, trains=True)
def fine_tune(
    job: Job,
    model: TrainedModel,
    features: Features,
    config: FineTuneConfig,
    learning: Learning,
    *,
    seed: int,
    rung: Rung | None = None,
    like: TrainedModel | None = None,
) -> TrainedModel:
    """Train the blocks from the top down to `features.block` together with the head.

    It starts from the activations at `features.cut`. BatchNormalization stays frozen, its
    statistics too, and so does everything before the block: see `phases.run_phase`. The result is
    kept only if it is no worse in `monitor` than the head alone; where features are chosen, only if
    it is better beyond noise, on the same validation examples. Layerwise decay and
    gradual unfreezing are those of Howard & Ruder 2018 (arXiv:1801.06146), sections 3.2 and 3.3;
    LoRA is that of Hu et al. 2021 (arXiv:2106.09685).

    Args:
        rung: what this is one of. Where it is not better beyond noise than the model it begins
            with, or would not fit the budget, the model is settled.
        like: a model that was fine-tuned for as many epochs as this is to be: nothing is decided,
            and nothing is done where its fine-tuning was not kept.
    """
    undone = like is not None and not like.backbone_changed
    if features.block is None or config.epochs == 0 or model.settled or undone:
        nothing = {"skipped": True}
        return _unchanged(job, model, model.features, model.kept, nothing, settled=model.settled)
    if rung and (why := _too_dear(model, features, config, rung)):
        nothing = {"skipped": True}
        return _unchanged(job, model, model.features, model.kept, nothing, settled=why)
    if like:
        share = read_json(like.directory / forgetting.FILE)["share"]
        config = as_long_as(like, config).model_copy(update={"interpolate": share})
    began = time.monotonic()
    # Before there are layers: dropout takes its seed when it is made.
    keras.utils.set_random_seed(seed)
    network = open_backbone(model.base, model.backbone_weights)
    suffix, stored = tail(model.base, network, features.cut, model.form.taps)
    head = open_head(model, features=suffix.output_shape[-1])
    head.trainable = True
    blocks = _blocks(model.base, network, features.block)
    precision = _precision(job, config)
    tuned = heads.join(folding.fold(suffix, precision=precision), head)
    anchors = _anchors(blocks) if config.l2_sp else {}
    data = training_data(job, features, "at_cut", learning, stored)

    def train(name: str, epochs: int) -> Phase:
        return run_phase(
            job,
            name,
            tuned,
            data,
            config.model_copy(update={"epochs": epochs}),
            seed,
            section="fine_tune",
            first_epoch=config.epochs - epochs,
            rates=_rates(blocks, head, config),
            anchors=anchors,
            pull=config.l2_sp,
            precision=precision,
            others=[network],
            groups=_groups(model.base, network),
        )

    def judged() -> Callable[[], np.ndarray]:
        return paired.losses(tuned, data, model.base.targets, learning)

    drift = Drift(job, model.base, network, features, data.validation)
    weights = freezing.named_weights(network, head)
    anchor = freezing.snapshot(weights)
    decides = like is None and (model.choosing or rung is not None)
    compared = decides and distribution.replicas() == 1
    before = judged()() if compared else None
    phase, unfrozen = _unfreeze(train, tuned, blocks, config)
    if config.lora_rank:
        phase = phase.merged(lora.merge(network.layers))
    phase.write(job.directory)
    how = {"block": features.block, "unfrozen": unfrozen, "precision": precision or "float32"}
    stats = how | phase.stats
    if rung:
        stats |= {"took": round(time.monotonic() - began, 2)}

    def unchanged(why: str) -> TrainedModel:
        settled = f"{rung.name}: {why}" if rung else ""
        left = _unchanged(job, model, features, f"the head alone: {why}", stats, settled=settled)
        return left.model_copy(update={"cut_short": phase.cut_short})

    forgotten = drift.told()
    share = 1.0
    curve: list[dict[str, float]] = []
    if config.interpolate != 1.0:
        share, curve = _interpolated(weights, anchor, judged(), config, decides=like is None)
        stats |= {"interpolated": share}
    forgotten |= {"share": share, "curve": curve, "kept": drift.told() if share < 1.0 else None}
    write_json(job.directory / forgetting.FILE, forgotten)
    if share == 0.0:
        return unchanged("nothing on the way to the fine-tuned weights is better")
    if config.interpolate == 1.0 and not phase.is_no_worse and like is None:
        return unchanged(f"fine-tuning made it worse ({phase.change})")
    if before is not None:
        now = judged()()
        fell, error = paired.better_by(before, now)
        stats |= {"fell": fell, "fell_error": error}
        if not fell > error:
            return unchanged(
                f"fine-tuning is not better beyond noise (validation loss fell by {fell:.4f} ± "
                f"{error:.4f})"
            )
    save_weights(head, job.directory / "head.weights.h5")
    save_weights(network, job.directory / "backbone.weights.h5")
    way = f", {share:.0%} of the way there" if share < 1.0 else ""
    kept = f"the fine-tuned weights of epoch {phase.history.best_epoch + 1}{way} ({phase.change})"
    tuned_model = _next(job, model, features, kept, stats, backbone_changed=True)
    return tuned_model.model_copy(update={"cut_short": phase.cut_short})


def _interpolated(
    weights: dict[str, Any],
    anchor: dict[str, np.ndarray],
    judge: Callable[[], np.ndarray],
    config: FineTuneConfig,
    *,
    decides: bool,
) -> tuple[float, list[dict[str, float]]]:
    """Put the weights where they are to be on the line, and say where that is."""
    if distribution.replicas() > 1:
        raise Mistake(
            f"fine_tune.interpolate must be 1 where several devices train, got {config.interpolate}"
        )
    after = freezing.snapshot(weights)

    def place(share: float) -> None:
        between(weights, anchor, after, share)

    if config.interpolate == "auto":
        return paired.on_the_line(place, judge)
    curve = []
    for share in (0.0, config.interpolate):
        place(share)
        loss = float(np.nan_to_num(judge(), nan=np.inf, posinf=1e9).mean())
        curve.append({"share": share, "loss": loss})
    worse = decides and curve[1]["loss"] > curve[0]["loss"]
    if worse:
        place(0.0)
    return (0.0 if worse else config.interpolate), curve


def _precision(job: Job, config: FineTuneConfig) -> str | None:
    """What the unfrozen blocks multiply in; None for float32."""
    auto = config.precision == "auto"
    found = decided(job, "precision", hardware.half_precision) if auto else config.precision
    return None if found == "float32" else found


def _blocks(model: AssembledModel, network: keras.Model, first: str) -> list[list[Any]]:
    """The layers of each block from the top down to the one called `first`."""
    blocks = splitting.layers_of_blocks(network, block_starts(model, network))
    names = list(blocks)
    return [blocks[name] for name in reversed(names[names.index(first) :])]


def _rates(blocks: list[list[Any]], head: keras.Model, config: FineTuneConfig) -> dict[str, float]:
    """Each variable's path → what its learning rate is multiplied by."""
    rates = {variable.path: config.head_ratio for variable in head.variables}
    for depth, layers in enumerate(blocks):
        for layer in layers:
            rates |= {v.path: config.layer_decay**depth for v in layer.variables}
    return rates


def _groups(model: AssembledModel, network: keras.Model) -> dict[str, str]:
    """Each variable's path → its block; what LoRA adds is new."""
    blocks = splitting.layers_of_blocks(network, block_starts(model, network))
    return {
        v.path: LORA if "/lora_kernel_" in v.path else name
        for name, layers in blocks.items()
        for layer in layers
        for v in layer.variables
    }


def _anchors(blocks: list[list[Any]]) -> dict[str, np.ndarray]:
    """Each variable's path → its values as they are: the pretrained ones."""
    return {
        v.path: np.array(keras.ops.convert_to_numpy(v))
        for layers in blocks
        for layer in layers
        for v in layer.weights
    }


def _unfreeze(
    train: Callable[[str, int], Phase],
    tuned: keras.Model,
    blocks: list[list[Any]],
    config: FineTuneConfig,
) -> tuple[Phase, int]:
    """All blocks at once, or one more each time `monitor` stops improving, while that helps.

    Args:
        train: (name, most epochs) → a phase of training `tuned`, of what is unfrozen in it.

    Returns:
        All phases as one, and how many blocks the weights come from.
    """
    counts = range(1, len(blocks) + 1) if config.gradual else [len(blocks)]
    whole: Phase | None = None
    unfrozen, left = 0, config.epochs
    for count in counts:
        for layers in blocks[:count]:
            freezing.unfreeze(layers)
            if config.lora_rank:
                lora.enable(layers, config.lora_rank)
        weights = tuned.get_weights()
        phase = train(f"fine_tune {count}" if config.gradual else "fine_tune", left)
        if config.gradual and not phase.is_no_worse:
            tuned.set_weights(weights)
            return (whole.then(phase, kept=False), unfrozen) if whole else (phase, 0)
        whole, unfrozen = whole.then(phase) if whole else phase, count
        left -= len(phase.history.epochs)
        if left <= 0 or phase.by_hand:
            break
    assert whole
    return whole, unfrozen


# A step costs as much as so many forward passes of what is unfrozen.
STEP = 3


def _too_dear(model: TrainedModel, features: Features, config: FineTuneConfig, rung: Rung) -> str:
    """Why a rung would not fit what is left of the budget; empty where it may.

    By what the rung before took where there is one, else by the pace of the feature pass.
    """
    each = float(model.features.stats.get("milliseconds") or 0.0)
    if not rung.budget or (model.phase != "fine_tune" and not each):
        return ""
    examples = features.counts["train"]
    blocks = list(features.model.stats["blocks"])
    share = (len(blocks) - blocks.index(features.block)) / len(blocks)
    if model.phase == "fine_tune":
        assert model.features.block is not None
        before = (len(blocks) - blocks.index(model.features.block)) / len(blocks)
        epochs = max(1, int(model.stats["epochs"]))
        wanted = model.stats["took"] / epochs * config.epochs * share / before
    else:
        wanted = examples * each / 1000 * STEP * share * config.epochs
    spent, at = 0.0, model
    while at.before is not None:
        spent, at = spent + float(at.stats.get("took", 0.0)), at.before
    if spent + wanted <= rung.budget:
        return ""
    return (
        f"{rung.name}: it would take some {duration(wanted)}, and {duration(rung.budget - spent)} "
        f"of --runtime.budget are left"
    )


def _unchanged(
    job: Job,
    model: TrainedModel,
    features: Features,
    kept: str,
    stats: Mapping[str, object],
    *,
    settled: str = "",
) -> TrainedModel:
    for name in ("head.weights.h5", HELD_OUT):
        if (model.directory / name).exists():
            shutil.copy2(model.directory / name, job.directory)
    return _next(job, model, features, kept, stats, backbone_changed=False, settled=settled)


def _next(
    job: Job,
    model: TrainedModel,
    features: Features,
    kept: str,
    stats: Mapping[str, object],
    *,
    backbone_changed: bool,
    settled: str = "",
) -> TrainedModel:
    """The model after this phase, with the head's architecture of the one before."""
    return TrainedModel(
        directory=job.directory,
        features=features,
        before=model,
        phase="fine_tune",
        form=model.form,
        kept=kept,
        backbone_changed=backbone_changed,
        settled=settled,
        stats=dict(stats),
    )
