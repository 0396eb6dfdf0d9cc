"""Proposals about training: for how long, how gently, on what, and of what more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.artifacts import TrainedModel
from components.files import read_json
from components.judging.proposal import Found, Proposal, words
from components.modalities.table import MODALITIES


def not_done(found: Found) -> Iterator[Proposal]:
    """Training was stopped by its length: it was still learning, and what it learned was general.

    The learning rate has come down to nothing by then, so that it says little how fast it still
    fell; that it is as good on what it has seen as on what it has not does.
    """
    for section, model in (("head", found.head), ("fine_tune", found.tuned)):
        history = _history(model)
        if history is None or model.cut_short:
            continue
        epochs, best = history["epochs"], history["best_epoch"]
        last = epochs[-1]
        if best < len(epochs) - 1 or len(epochs) < 2 or last["loss"] < 0.8 * last["val_loss"]:
            continue
        named = "the head" if section == "head" else "the unfrozen blocks"
        yield Proposal(
            f"Train {named} for longer.",
            f"The best epoch is the last of {len(epochs)}, and the training loss, "
            f"{last['loss']:.3g}, is not below that of validation, {last['val_loss']:.3g}.",
            f"--{section.replace('_', '-')}.epochs {3 * len(epochs)}",
            found.error / 4,
            "Prechelt 1998, Early stopping – but when?",
        )


def overfits(found: Found) -> Iterator[Proposal]:
    """Validation stopped getting better while training went on."""
    for section, model in (("head", found.head), ("fine_tune", found.tuned)):
        history = _history(model)
        if history is None:
            continue
        epochs, best = history["epochs"], history["best_epoch"]
        last = epochs[-1]
        apart = epochs[best]["val_loss"] - epochs[best]["loss"]
        went_on = best < len(epochs) - 1 and last["loss"] < 0.9 * epochs[best]["loss"]
        if not (went_on and apart > 0.3 * epochs[best]["val_loss"]):
            continue
        few = found.features.views.views in (1, 2)
        named = "the head" if section == "head" else "fine-tuning"
        mixed = f"--{section.replace('_', '-')}.mixup 0.2"
        yield Proposal(
            "Show it more views of each example." if few else "Mix examples (MixUp).",
            f"In {named} validation was best in epoch {best + 1} of {len(epochs)}, while the "
            f"training loss went on from {epochs[best]['loss']:.3g} to {last['loss']:.3g}.",
            "--augment.views 4" if few else mixed,
            found.error / 4,
            "Perez & Wang 2017, arXiv:1712.04621" if few else "Zhang et al. 2018, arXiv:1710.09412",
        )
        return


def too_fast(found: Found) -> Iterator[Proposal]:
    """Fine-tuning made it worse from the first epoch on."""
    history = _history(found.tuned)
    if history is None or found.tuned.phase != "fine_tune":
        return
    before, first = found.tuned.stats.get("before_val_loss"), history["epochs"][0]["val_loss"]
    rate = max(row["learning_rate"] for row in history["epochs"])
    if before is not None and first > 1.05 * before:
        slower = rate / (30 if first > 2 * before else 3)
        yield Proposal(
            "Fine-tune more gently.",
            f"The validation loss went from {before:.4f} to {first:.4f} in the first epoch.",
            f"--fine-tune.learning-rate {slower:.1g} --fine-tune.interpolate auto",
            found.error / 4,
            "Kumar et al. 2022, arXiv:2202.10054; Wortsman et al. 2022, arXiv:2109.01903",
        )


def only_the_head(found: Found) -> Iterator[Proposal]:
    """The head alone is trained, and what it reads does not tell the answers apart well."""
    if _history(found.tuned) is not None or found.error < 0.05:
        return
    if found.tuned.phase == "climb":  # More was tried.
        return
    if found.features.counts.get("train", 0) >= 200:
        yield Proposal(
            "Fine-tune the last blocks, too.",
            "Nothing but the head was trained, and it is not perfect; whether fine-tuning helps is "
            "decided on validation examples, and what does not help is not kept.",
            "--fine-tune.unfreeze 2 --fine-tune.epochs 10 --head.features last --augment.views 4",
            0.0,
            "Kornblith et al. 2019, arXiv:1805.08974",
        )


def another_giant(found: Found) -> Iterator[Proposal]:
    """What the giant was trained to tell is not what is asked: its last layer has lost that.

    A giant's lower layers know of the input what its upper ones drop for its own task.
    """
    path = found.head.directory / "choice.json"
    if not path.exists() or found.error < 0.05:
        return
    tried = read_json(path)["tried"]
    last = next((row for row in tried if len(row["taps"]) == 1), None)
    best = min(tried, key=lambda row: row["cv_loss"])
    shown = next((name for name in best if name.startswith("cv_") and name != "cv_loss"), None)
    if last is None or shown is None or last is best:
        return
    much = last["cv_loss"] > 3 * best["cv_loss"]
    if much and last["worse_by"] > 3 * last["standard_error"]:
        yield Proposal(
            "Try a giant that was trained on something nearer to this.",
            f"By cross-validation a head on the giant's last layer alone has "
            f"{words(shown.removeprefix('cv_'))} {last[shown]:.3f}, on its lower layers, too, "
            f"{best[shown]:.3f}: what it was trained to tell is not what is asked here. "
            f"{MODALITIES[found.features.examples.modality].giants.others}",
            "",
            found.error / 2,
            "Evci et al. 2022, arXiv:2201.03529",
        )


def _history(model: TrainedModel) -> dict[str, Any] | None:
    path = model.directory / "history.json"
    if model.stats.get("skipped") or not path.exists():
        return None
    history: dict[str, Any] = read_json(path)
    return history if history["epochs"] else None
