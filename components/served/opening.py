"""Ask a SavedModel of ours, through the signature that is served."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epy

from components import disk
from components.files import read_json, sha256
from components.modalities.table import MODALITIES
from components.served import golden
from components.served.inspecting import PROGRAM, inspect
from components.served.manifest import MANIFEST, targets_of
from components.tasks.protocol import Said, Target
from components.tasks.table import task_of
from models.mistakes import Mistake

with epy.lazy_imports():
    import tensorflow as tf

VALID = "valid"
# How unlike an example is to those that the model was trained on: whether it is like them at all,
# how far the nearest of them is, and its id.
KNOWN, DISTANCE, NEAREST = LIKENESS = (golden.KNOWN, "distance", "nearest")
# The signature that gives a vector for each example, and what that is called.
EMBED, EMBEDDING = "embed", "embedding"
_OF_ALL = (VALID, *LIKENESS)


class Answered(NamedTuple):
    """What is said of one example.

    Attributes:
        valid: whether it could be read.
        said: about each target.
        likeness: `LIKENESS`, where the model says that.
    """

    valid: bool
    said: list[Said]
    likeness: dict[str, Any]


@dataclass(frozen=True)
class Served:
    """What was served for some examples.

    Attributes:
        valid: (examples,), whether each could be read.
        of_each: for each target, its outputs by their own names.
        likeness: `LIKENESS`, (examples,) each, where the model says that.
    """

    targets: tuple[Target, ...]
    valid: np.ndarray
    of_each: list[dict[str, np.ndarray]]
    likeness: dict[str, np.ndarray]

    def said(self) -> list[Answered]:
        """Of each example."""
        try:
            by_target = [
                task_of(target).rows(own, target.space)
                for target, own in zip(self.targets, self.of_each, strict=True)
            ]
        except KeyError as error:
            raise Mistake(f"MODEL must say what its manifest says, got no {error}") from error
        told = [list(each) for each in zip(*by_target, strict=True)]
        alike: list[dict[str, Any]] = [{} for _ in told]
        if self.likeness:
            each = zip(*(self.likeness[name] for name in LIKENESS), strict=True)
            alike = [
                {KNOWN: bool(known), DISTANCE: float(apart), NEAREST: name.decode()}
                for known, apart, name in each
            ]
            alike = [own if valid else {} for valid, own in zip(self.valid, alike, strict=True)]
        return [Answered(*each) for each in zip(map(bool, self.valid), told, alike, strict=True)]


class Opened:
    """A model that is loaded: raw examples → what is served for them."""

    def __init__(self, path: Path, modality: str, targets: Sequence[Target]) -> None:
        self._signature = open_model(path, modality)
        self.targets = tuple(targets)

    def ask(self, raws: Sequence[bytes]) -> Served:
        answer = self._signature(raw=tf.constant(list(raws)))
        arrays = {name: tensor.numpy() for name, tensor in answer.items()}
        of_each = [outputs_of(target, arrays) for target in self.targets]
        likeness = {name: arrays[name] for name in LIKENESS if name in arrays}
        return Served(self.targets, arrays[VALID], of_each, likeness)

    def evidence(self, number: int, raws: Sequence[bytes]) -> np.ndarray:
        """(examples,), how much each speaks for the answer to a target that the first one gets."""
        return task_of(self.targets[number]).evidence(self.ask(raws).of_each[number])


def outputs_of(target: Target, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of one target, by their own names."""
    prefix = target.named("")
    return {
        name.removeprefix(prefix): value
        for name, value in outputs.items()
        if name.startswith(prefix) and name not in _OF_ALL
    }


def named_said(targets: Sequence[Target], said: Sequence[Said]) -> Said:
    """What is said of an example about all targets, under the names of the targets."""
    return {
        target.named(name): value
        for target, own in zip(targets, said, strict=True)
        for name, value in own.items()
    }


def open_model(path: Path, modality: str) -> Any:
    """The signature `serving_default` of the model at `path`, to be called with `raw`."""
    signatures = open_signatures(path, modality)
    if "serving_default" not in signatures:
        raise Mistake(f"{path} must have the signature serving_default, got none")
    return signatures["serving_default"]


def open_signatures(path: Path, modality: str) -> Any:
    """All signatures of the model at `path`, loaded once while its manifest is the same.

    Raises:
        Mistake: it would do more than to compute, see `inspecting`, or does not say what it said
            when it was exported, see `golden`.
    """
    return _opened(path.resolve(), sha256(path / MANIFEST), modality)[0].signatures


def check(path: Path, modality: str) -> int:
    """How many golden examples the model at `path` says the same of as when it was exported."""
    return _opened(path.resolve(), sha256(path / MANIFEST), modality)[1]


@functools.lru_cache(maxsize=2)
def _opened(path: Path, digest: str, modality: str) -> tuple[Any, int]:
    del digest
    return load(path, modality)


def load(path: Path, modality: str) -> tuple[Any, int]:
    """The model at `path`, whose signatures compute while it is held; it is loaded anew.

    Returns:
        The model, and how many golden examples it was compared on.

    Raises:
        Mistake: see `open_signatures`.
    """
    MODALITIES[modality].giants.load_ops()
    program = inspect(path)
    targets = targets_of(read_json(path / MANIFEST))
    try:
        opened = _loaded(path, program)
        return opened, golden.check(path, opened.signatures, targets)
    except Mistake:
        raise
    except Exception as error:  # TensorFlow, and NumPy, raise whatever they meet.
        if disk.mistake_of(error):
            raise  # The model is not to blame: what is looked at is written down for that.
        told = (str(error).strip() or "no reason").splitlines()[0][:200]
        raise Mistake(
            f"{path} must be a model of ours that can be loaded, got {type(error).__name__}: {told}"
        ) from error


def _loaded(path: Path, program: bytes) -> Any:
    """The model at `path`, whose program is given: that in the folder may be another one by now."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / PROGRAM).write_bytes(program)
        for name in ("variables", "assets"):
            if (path / name).is_dir():
                (Path(directory) / name).symlink_to(path / name)
        return tf.saved_model.load(directory)
