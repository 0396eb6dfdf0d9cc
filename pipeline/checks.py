"""What of a config does not go together, told before anything runs."""

from __future__ import annotations

import re
from contextlib import suppress

from components import bless as blessing
from components.judging.judged import ALIKE
from components.modalities.giants import Giant
from components.modalities.table import MODALITIES
from components.tasks.protocol import Target
from components.tasks.table import TASKS
from models import splitting
from models.mistakes import Mistake, nearest
from models.quiet import import_tensorflow
from pipeline.config import Config
from pipeline.store import ARTIFACT, Store, hashed, read_manifest

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check(config: Config) -> None:
    """A `Mistake` where sections do not go together.

    Not a validator of `Config`: flags are parsed before it is known which recipe they change.
    """
    _check_modality(config)
    _check_targets(config)
    _check_features(config)
    targets = [Target(name=column.name, task=column.task) for column in config.columns]
    ours = (*MODALITIES[config.data.modality].raw.slices, ALIKE)
    slices = (*ours, *config.data.slices)
    if twice := next((name for name in config.data.slices if slices.count(name) > 1), None):
        raise Mistake(
            f"data.slices must name columns once that are called otherwise than what is judged "
            f"anyway ({', '.join(ours)}), got {twice!r}: rename the column"
        )
    if config.fine_tune.l2_sp and config.fine_tune.lora_rank:
        raise Mistake(
            f"fine_tune.l2_sp must be 0 with fine_tune.lora_rank, which leaves the weights where "
            f"they are, got {config.fine_tune.l2_sp:g}"
        )
    blessing.check(config.bless, targets, slices)
    monitors = ["val_loss", *(f"val_{t.named(m)}" for t in targets for m in TASKS[t.task].monitors)]
    known = dict.fromkeys(("head", "fine_tune", "control"), monitors)
    known["pretrain"] = ["val_loss", *(f"val_{m}" for m in TASKS["one_label"].monitors)]
    for name, monitors in known.items():
        monitor = getattr(config, name).monitor
        if monitor not in monitors:
            raise Mistake(
                f"{name}.monitor must be what is watched, got {monitor!r}: "
                f"{nearest(monitor, monitors)}"
            )


def _check_features(config: Config) -> None:
    for name in ("head", "fine_tune", "control"):
        phase = getattr(config, name)
        if phase.mixup_with != "any" and not phase.mixup:
            raise Mistake(
                f"{name}.mixup_with must be left out where {name}.mixup is 0, which mixes nothing, "
                f"got {phase.mixup_with!r}: say --{name.replace('_', '-')}.mixup 0.4 as well"
            )
    head = config.head
    _check_prototypes(config)
    if head.kind == "untrained" and head.features == "taps":
        raise Mistake("head.features must be last where head.kind is untrained, got 'taps'")
    if head.kind == "untrained" and not config.unfreeze:
        raise Mistake(
            "head.kind must be one that is trained where nothing is fine-tuned with it, got "
            "'untrained': say --fine-tune.unfreeze as well"
        )
    if head.features != "taps":
        return
    if config.augment.views == "fresh":
        raise Mistake("head.features must be last where augment.views is fresh, got 'taps'")
    for key in ("hidden", "search", "mixup"):
        if getattr(head, key) != type(head).model_fields[key].default:
            raise Mistake(
                f"head.{key} must be left out where head.features is taps, whose head is linear "
                f"and fitted exactly, got {getattr(head, key)}"
            )


def _check_prototypes(config: Config) -> None:
    """Class means are of classes, and of a head that is linear."""
    head = config.head
    for key, means in (("kind", head.kind == "prototype"), ("begin", head.begin == "prototypes")):
        if not means:
            continue
        given = getattr(head, key)
        if [TASKS[column.task].activation for column in config.columns] != ["softmax"]:
            raise Mistake(
                f"head.{key} must be left out where not one label alone is asked for, got {given!r}"
            )
        if config.augment.views == "fresh":
            raise Mistake(
                f"head.{key} must be left out where augment.views is fresh, got {given!r}"
            )
        for other in ("hidden", "search", "mixup", "soup"):
            value = getattr(head, other)
            if value != type(head).model_fields[other].default:
                raise Mistake(
                    f"head.{other} must be left out with head.{key} {given}, whose head is linear, "
                    f"got {value}"
                )
    if head.begin == "prototypes" and (head.kind == "prototype" or head.features == "taps"):
        raise Mistake(
            "head.begin must be left out where the head is not trained by epochs, got 'prototypes'"
        )


def check_giant(config: Config, giant: Giant, store: Store) -> None:
    """A `Mistake` where the giant cannot be built as is asked for, or unfrozen.

    The store knows the blocks of giants that were assembled before; others are built, without
    weights, as they will have to be: what a giant cannot do is told before hours of work.
    """
    unfreeze = config.fine_tune.unfreeze
    blocks = _known_blocks(config, giant, store)
    if blocks is None:
        import_tensorflow()
        row = MODALITIES[config.data.modality]
        blocks = row.giants.block_names(config.model, config.own, giant)
    if blocks and config.fine_tune.epochs and unfreeze not in (0, "all"):
        splitting.resolve_block(dict.fromkeys(blocks, 0), unfreeze)


def _known_blocks(config: Config, giant: Giant, store: Store) -> list[str] | None:
    """The blocks of the giant, by what was assembled of it in the same way."""
    for path in (store.root / "assemble").glob(f"*/{ARTIFACT}"):
        with suppress(OSError, ValueError, KeyError):
            made = read_manifest(path.parent)
            inputs = made["inputs"]
            asked = ({"digest": giant.digest}, hashed(config.own), config.model.pooling)
            if (inputs["giant"], inputs["own"], inputs["config"]["pooling"]) == asked:
                blocks: list[str] = made["stats"]["blocks"]
                return blocks
    return None


def _check_modality(config: Config) -> None:
    modality = config.data.modality
    row = MODALITIES[modality]
    if config.model.weights == "pretrain" and config.pretrain.data.modality != modality:
        raise Mistake(
            f"pretrain.data.modality must be that of the data, {modality}, got "
            f"{config.pretrain.data.modality!r}"
        )
    for other in MODALITIES.values():
        section = getattr(config, other.section)
        for key in type(section).model_fields if other is not row else ():
            given = getattr(section, key)
            if given != type(section).model_fields[key].default:
                raise Mistake(
                    f"{other.section}.{key} must be left out for {modality}, got {given!r}"
                )
    poolings = ("auto", *row.giants.poolings)
    if config.model.pooling not in poolings:
        raise Mistake(
            f"model.pooling must be one of {', '.join(poolings)} for {modality}, got "
            f"{config.model.pooling!r}"
        )
    for name in config.augment.policies:
        if name not in row.policies:
            raise Mistake(
                f"augment.policies must be policies for {modality}, got {name!r}: "
                f"{nearest(name, row.policies)}"
            )


def _check_targets(config: Config) -> None:
    if config.pretrain.data.separator or len(config.pretrain.data.columns) > 1:
        raise Mistake(
            "pretrain.data must have one label for each example: separator must be left out, and "
            "columns be one column"
        )
    if config.targets and (config.data.columns or config.data.separator):
        raise Mistake(
            "data.columns and data.separator must be left out where there are targets, which have "
            "their own"
        )
    taken = {*MODALITIES, "id", "name", "label", "valid"}
    for name in config.targets:
        if not _NAME.fullmatch(name) or name in taken:
            raise Mistake(
                f"targets must have names of small letters, digits and _, other than "
                f"{', '.join(sorted(taken))}, got {name!r}"
            )
    for column in config.columns:
        field = f"targets.{column.name}" if column.name else "data"
        task = TASKS[column.task]
        if len(column.columns) > 1 and not task.many:
            raise Mistake(
                f"{field}.columns must be one column for {column.task}, got "
                f"{', '.join(column.columns)}"
            )
        if column.separator and (not task.many or len(column.columns) > 1):
            raise Mistake(
                f"{field}.separator must be for several labels in one column, got "
                f"{column.separator!r} for {column.task}"
            )
    if config.data.labels_per_class and config.data.group:
        raise Mistake(
            f"data.labels_per_class must be left out where data.group keeps examples together, got "
            f"{config.data.labels_per_class}"
        )
    if config.data.labels_per_class and [c.task for c in config.columns] != ["one_label"]:
        raise Mistake(
            f"data.labels_per_class must be left out where more than one label is asked for, got "
            f"{config.data.labels_per_class}"
        )
