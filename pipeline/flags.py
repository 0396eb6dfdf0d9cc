"""Flags that are not ours, or no longer: who uses one is told which ones are meant."""

from __future__ import annotations

from collections.abc import Iterator

from components.section import Section
from models.mistakes import Mistake, nearest
from pipeline.config import Config
from pipeline.moved import MOVED

# The commands that take a recipe, a path, and the flags of the config.
CONFIGURED = ("run", "plan", "compile", "submit", "show", "learning-curve", "advise", "tune")
# What people type for a command.
_COMMANDS = {
    "run": ("train", "fit", "retrain", "finetune", "fine-tune", "start", "execute"),
    "predict": ("infer", "inference", "classify", "ask", "apply"),
    "plan": ("dry-run", "preview", "diff"),
    "runs": ("list", "ls", "history", "status", "log", "logs"),
    "show": ("config", "print", "recipes"),
    "prune": ("clean", "gc", "cleanup"),
}
# Other words for a flag that mean it alone: taken for it.
_SYNONYMS = {
    "--data.label-column": "--data.columns",
    "--data.path-column": "--data.input-column",
    "--data.text-column": "--data.input-column",
    "--data.input-size": "--photos.input-size",
}
_RATES = ("--head.learning-rate", "--fine-tune.learning-rate")
_EPOCHS = ("--head.epochs", "--fine-tune.epochs")
_BATCHES = ("--head.batch-size", "--fine-tune.batch-size")
_PATIENCE = ("--head.patience", "--fine-tune.patience")
_SIZE, _LENGTH = ("--photos.input-size",), ("--sentences.sequence-length",)
_BACKBONE, _PATH, _OUTPUT = ("--model.backbone",), ("--data.path",), ("--serving-dir",)
_GPU = ("--runtime.backend", "--runtime.distribution")
# What other tools taught people → the flags that they could mean.
_MEANT = {
    **dict.fromkeys(("--lr", "--learning-rate", "--learning_rate"), _RATES),
    **dict.fromkeys(("--epochs", "--num-epochs", "--max-epochs", "-e"), _EPOCHS),
    **dict.fromkeys(("--batch-size", "--batch_size", "--bs", "-b"), _BATCHES),
    **dict.fromkeys(("--patience", "--early-stopping"), _PATIENCE),
    **dict.fromkeys(("--backbone", "--arch", "--model", "--model-name", "-m"), _BACKBONE),
    **dict.fromkeys(("--data", "--dataset", "--data-dir", "--input", "-d"), _PATH),
    **dict.fromkeys(("--output", "--output-dir", "--out", "--export-dir", "-o"), _OUTPUT),
    **dict.fromkeys(("--image-size", "--img-size", "--imgsz", "--input-size"), _SIZE),
    **dict.fromkeys(("--max-length", "--max-len", "--seq-length"), _LENGTH),
    **dict.fromkeys(("--gpu", "--gpus", "--device", "--cuda", "--tpu"), _GPU),
    **dict.fromkeys(("--unfreeze", "--freeze", "--fine-tune-at"), ("--fine-tune.unfreeze",)),
    **dict.fromkeys(("--weights", "--pretrained"), ("--model.weights",)),
    **dict.fromkeys(("--augment", "--augmentation"), ("--augment.views", "--augment.policies")),
    **dict.fromkeys(("--val-split", "--validation-split"), ("--data.validation-fraction",)),
    **dict.fromkeys(("--min-accuracy", "--threshold"), ("--bless.at-least accuracy=VALUE",)),
    "--dropout": ("--head.dropout",),
    "--weight-decay": ("--head.weight-decay", "--fine-tune.weight-decay"),
    "--classes": ("--data.classes",),
    "--labels": ("--data.columns", "--data.classes"),
    "--label-column": ("--data.columns",),
    "--control": ("--control.enabled",),
    "--deadline": ("--runtime.deadline",),
    "--warm-start": ("--model.warm-start",),
}
# Flags whose value is a flag of somebody else.
_TAKE_FLAGS = ("--beam.options",)
# Flags of a command that mean something else to others.
_OWN = dict.fromkeys(("compile", "advise", "tune"), ("--output", "-o"))
# What is no flag because it is done in another way.
_OTHERWISE = {
    **dict.fromkeys(("--dry-run", "-n"), "say plan instead of run"),
    **dict.fromkeys(("--resume", "--continue"), "the same command again goes on where it stopped"),
    **dict.fromkeys(("--workers", "--num-workers", "-j"), "all cores are used"),
    **dict.fromkeys(("--config", "-c"), "name the TOML file as the recipe: run FILE.toml"),
    **dict.fromkeys(("--force", "--overwrite"), "--fresh computes every stage again"),
    **dict.fromkeys(("--verbose", "-v", "--debug"), "--log json tells more"),
}


def understood(arguments: list[str]) -> list[str]:
    """The arguments with synonyms in our own words.

    Raises:
        Mistake: a command or a flag that is not ours, with those that are meant.
    """
    if not arguments:
        return ["run", "digits"]
    command, *rest = arguments
    if command in ("help", "version"):
        return [*(rest[:1] if command == "help" else []), f"--{command}"]
    for meant, words in _COMMANDS.items():
        if command in words:
            raise Mistake(
                f"the command must be one of ours, got {command!r}: did you mean {meant}?"
            )
    if command not in CONFIGURED:
        return arguments
    return [command, *_checked(rest, _OWN.get(command, ()))]


def unknown_command(name: str, known: list[str], recipes: list[str]) -> Mistake:
    """What to say of a first word that is no command."""
    if name in recipes:
        return Mistake(f"the command must come first, got the recipe {name!r}: run {name}")
    return Mistake(f"the command must be one of ours, got {name!r}: {nearest(name, known)}")


def _checked(rest: list[str], own: tuple[str, ...]) -> Iterator[str]:
    sections = {
        f"--{name.replace('_', '-')}": name
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    before = ""
    for argument in rest:
        is_value, before = before in _TAKE_FLAGS, argument
        flag, is_given, value = argument.partition("=")
        if is_value or not flag.startswith("-") or flag in own:
            yield argument
            continue
        if new := MOVED.get(flag[2:].replace("-", "_").replace(".no_", ".")):
            name, _, how = new.partition(" ")
            raise Mistake(f"{flag} is now --{name.replace('_', '-')} {how}".rstrip())
        if flag in _OTHERWISE:
            raise Mistake(f"{flag} is no flag: {_OTHERWISE[flag]}")
        if flag in _MEANT:
            raise Mistake(f"{flag} is no flag: did you mean {' or '.join(_MEANT[flag])}?")
        if flag in sections:
            raise Mistake(f"{flag} is a section of flags: see --help {flag[2:]}")
        yield _SYNONYMS.get(flag, flag) + is_given + value
