"""What an experiment came to, and how it is kept.

STORE/lab/RUN/ID/experiment.json    what was changed, the figures, the epochs
STORE/lab/RUN/ID/by_example.npz     the loss, and what is watched, of each validation example
STORE/lab/RUN/ID/events.jsonl       what happened, where it took long; see `pipeline.events`
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from components.artifacts import WATCHED, Score, TrainedModel
from components.files import read_json, sha256_of_json, write_json
from components.judging import by_example, forgetting
from components.tasks.figures import Comparison
from components.tasks.protocol import Figure
from components.tasks.table import task_of

if TYPE_CHECKING:
    import pandas as pd

_KEPT, _BY_EXAMPLE = "experiment.json", "by_example.npz"
LOSS = "loss"


def identity(settings: Mapping[str, Any]) -> str:
    """Of an experiment: by what was changed."""
    return sha256_of_json(dict(sorted(settings.items())))[:12]


@dataclass(frozen=True)
class Experiment:
    """What a change of the config came to, on the examples to validate with.

    Attributes:
        settings: what is not as in the run, keys with dots → values.
        figures: the mean loss of what would be served, and what is watched.
        better_if_more: of each of them.
        kept: which weights it has, in words.
        phases: what was trained by epochs: `name`, `epochs`, `best_epoch`, `stopping`.
        forgotten: what fine-tuning did to the giant; see `judging.forgetting`.
        seconds: that it took.
        made: when, as seconds since 1970.
        by_example: the loss, and what is watched, of each example, (examples,).
    """

    settings: dict[str, Any]
    figures: dict[str, float]
    better_if_more: dict[str, bool]
    kept: str
    phases: list[dict[str, Any]]
    forgotten: dict[str, Any] | None
    seconds: float
    made: float
    by_example: dict[str, np.ndarray] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        return identity(self.settings)

    @classmethod
    def of(cls, settings: Mapping[str, Any], score: Score, seconds: float) -> Self:
        """Of a model that was scored."""
        known = {LOSS: np.load(score.directory / "losses.npy")}
        with np.load(score.directory / WATCHED) as watched:
            known |= {name: watched[name] for name in watched.files}
        return cls(
            settings=dict(settings),
            figures={name: float(values.mean()) for name, values in known.items()},
            better_if_more=_better_if_more(score),
            kept=score.model.kept,
            phases=_phases(score.model),
            forgotten=_forgotten(score.model),
            seconds=round(seconds, 3),
            made=time.time(),
            by_example=known,
        )

    def beside(self, other: Experiment) -> list[dict[str, Any]]:
        """Each figure of both, paired by example: `verdict`, and what `Comparison` has."""
        return [
            {**told.model_dump(), "verdict": told.verdict(self._figure(told))}
            for told in by_example.compare(self.by_example, other.by_example)
        ]

    def _figure(self, told: Comparison) -> Figure:
        more = self.better_if_more[told.name]
        return Figure(told.name, "", more, "share" if told.name != LOSS and more else "none")

    def as_json(self) -> dict[str, Any]:
        """All but what is known of each example."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return {"id": self.id, **{k: v for k, v in told.items() if k != "by_example"}}

    @property
    def frame(self) -> pd.DataFrame:
        """A row an epoch of each phase."""
        import pandas as pd

        rows = [
            {"phase": phase["name"], "epoch": epoch, **row}
            for phase in self.phases
            for epoch, row in enumerate(phase["epochs"])
        ]
        return pd.DataFrame(rows).set_index(["phase", "epoch"]) if rows else pd.DataFrame()

    def save(self, folder: Path) -> None:
        """Keep it in a folder; it is there once all of it is."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / _BY_EXAMPLE, allow_pickle=False, **self.by_example)
        write_json(folder / _KEPT, self.as_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """One that was kept; OSError, ValueError or KeyError where it is not there, or damaged."""
        told = read_json(folder / _KEPT)
        with np.load(folder / _BY_EXAMPLE) as known:
            values = {name: known[name] for name in known.files}
        given = {each.name: told[each.name] for each in fields(cls) if each.name != "by_example"}
        return cls(**given, by_example=values)


def _better_if_more(score: Score) -> dict[str, bool]:
    watched = {
        target.named(each.name): each.more_is_better
        for target in score.model.base.targets
        for each in task_of(target).watched(target.space)
    }
    return {LOSS: False, **watched}


def _phases(model: TrainedModel) -> list[dict[str, Any]]:
    """What was trained by epochs on the way to a model, the first first."""
    before = _phases(model.before) if model.before else []
    path = model.directory / "history.json"
    return [*before, {"name": model.phase, **read_json(path)}] if path.exists() else before


def _forgotten(model: TrainedModel) -> dict[str, Any] | None:
    return forgetting.read(model.directory)
