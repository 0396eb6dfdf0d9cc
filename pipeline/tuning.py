"""A search over whole runs: what to try, in one store, so that trials share what they can.

```
STORE/tune/DIGEST/trials.jsonl   a line a trial: number, settings, state, loss, figures, the losses
                                 of its epochs, and what took how long
```

What is tried next is decided by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011),
and by its number and the trials before it alone: a search that was killed goes on as if it had
not been. A trial whose validation loss is above the median of the others' at the same epoch is
given up. Trials are compared on validation examples; no test example is looked at.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from etils import epy

from components.files import read_jsonl, sha256_of_json
from components.job import Pruned
from components.section import seconds_of
from models.mistakes import Mistake
from pipeline.checks import check
from pipeline.config import Config
from pipeline.console import Brief
from pipeline.flow import Outside, scored
from pipeline.interpreters.execute import Executor, execute
from pipeline.outside import resolve
from pipeline.recipe import merged, validate
from pipeline.records import Step, past_runs
from pipeline.session import requested
from pipeline.showing import as_recipe, departures
from pipeline.store import hashed, read_manifest
from pipeline.studies import Study
from pipeline.working import at_work

with epy.lazy_imports():
    import optuna

# Trials that are drawn blindly before anything is learned of them, and before any is given up.
_BLIND, _PATIENT = 6, 4
# Epochs of a phase before it is given up.
_WARM = 1
State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """What was tried, and what came of it.

    Attributes:
        settings: keys with dots → values, as in a recipe.
        state: `pruned` where it was given up; `failed` where it makes no sense, and `why`.
        loss: of validation examples; None where it did not come to that.
        losses: of each of them: a file, relative to the store.
        epochs: the step of each epoch → its validation loss.
        seconds: that it took …
        shared: … and those that its reused stages took when they ran.
    """

    number: int
    settings: dict[str, Any]
    state: State
    loss: float | None
    figures: dict[str, float]
    epochs: dict[int, float]
    seconds: float
    shared: float
    losses: str = ""
    why: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Trial:
        return cls(**{**row, "epochs": {int(k): v for k, v in row["epochs"].items()}})


@dataclass(frozen=True)
class Tuned:
    """All trials of a search, the first first."""

    trials: tuple[Trial, ...]
    config: Config
    directory: Path

    @property
    def best(self) -> Trial:
        """Of those that are no worse than the one with the least loss, beyond a standard error on
        the same examples, the cheapest: with few examples the least loss is so by chance."""
        done = [trial for trial in self.trials if trial.loss is not None]
        if not done:
            raise Mistake("a search must have a trial that comes to its end, got none")
        least = min(done, key=lambda trial: trial.loss or 0.0)
        alike = [trial for trial in done if not self._is_worse(trial, least)]
        return min(alike, key=lambda trial: (trial.seconds + trial.shared, trial.number))

    def _is_worse(self, trial: Trial, least: Trial) -> bool:
        root = self.directory.parent.parent
        own, other = (np.load(root / each.losses) for each in (trial, least))
        worse = own - other
        return bool(worse.mean() > worse.std(ddof=1) / np.sqrt(len(worse)))

    @property
    def settled(self) -> Config:
        """The config of the best."""
        return _changed(self.config, self.best.settings)

    @property
    def saved(self) -> float:
        """The share of all seconds that trials did not take, as others had taken them before."""
        shared = sum(trial.shared for trial in self.trials)
        return shared / max(shared + sum(trial.seconds for trial in self.trials), 1e-9)

    @property
    def importance(self) -> dict[str, float]:
        """How much of the variance of the loss each setting that all have explains."""
        done = [t for t in self.trials if t.loss is not None and "head.features" in t.settings]
        if len(done) < _BLIND:
            return {}
        found = _Search(self._giants, self.config, done).importance()
        return {_PARAMETERS[name]: share for name, share in found.items()}

    @property
    def _giants(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trial.settings["model.backbone"] for trial in self.trials))

    def as_json(self) -> dict[str, Any]:
        """All that is told."""
        return {
            "trials": [asdict(trial) for trial in self.trials],
            "best": self.best.number,
            "saved": self.saved,
            "pruned": sum(trial.state == "pruned" for trial in self.trials),
            "importance": self.importance,
        }


def tune(study: Study, giants: Sequence[str], count: int) -> Tuned:
    """Try so many settings, or fewer where `runtime.budget` ends.

    Args:
        giants: values of `model.backbone`; the recipe's own where there are none.
        count: of trials, those of a search that was killed among them.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # How much is unfrozen is drawn, and which giant.
    study = replace(
        study, config=_changed(study.config, {"strategy": "given", "model.finalists": 1})
    )
    store, config = study.store, study.config
    names = tuple(dict.fromkeys(giants)) or (config.model.backbone,)
    with at_work(store, study.runtime.serving, config.runtime.deadline):
        first = requested(_changed(config, {"model.backbone": names[0]}), store, study.console.say)
        directory = store.root / "tune" / sha256_of_json([first.digest, hashed(config), names])[:24]
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "trials.jsonl"
        done = [Trial.of(row) for row in _lines(log)]
        budget = seconds_of(config.runtime.budget)
        while len(done) < count:
            spent = sum(trial.seconds for trial in done)
            if budget and spent >= budget:
                study.console.say(f"the budget of {config.runtime.budget} is spent")
                break
            trial = _try(study, names, done)
            _append(log, trial)
            done.append(trial)
            study.console.say(_said(trial, count))
    return Tuned(tuple(done), config, directory)


def recipe(tuned: Tuned) -> str:
    """The best trial as TOML, with what is known of it."""
    best = tuned.best
    figures = ", ".join(f"{name} {value:.4f}" for name, value in best.figures.items())
    comments = [
        f"Trial {best.number + 1} of {len(tuned.trials)}: loss {best.loss:.4f}, {figures}.",
        "The best of several is worse than it looks; the run of it tells what it is worth.",
    ]
    return as_recipe(departures(tuned.settled), comments)


def _try(study: Study, giants: tuple[str, ...], before: Sequence[Trial]) -> Trial:
    """The next trial, by those before it."""
    number = len(before)
    search = _Search(giants, study.config, before)
    settings = search.settings()
    watched = _Watched(search)
    steps: list[Step] = []
    started = time.monotonic()
    state: State = "complete"
    found, why = None, ""
    try:
        config = _changed(study.config, settings)
        check(config)
        outside = _outside(study, config)
        log = Brief(study.console)
        executor = Executor(study.store, study.runtime, log, steps, epochs=watched)
        run = executor.under(f"trial_{number + 1}")
        found = execute(lambda: scored(run, config, outside), study.console, steps)
    except Pruned:
        state = "pruned"
    except Mistake as mistake:
        state, why = "failed", str(mistake)
    finally:
        study.console.stop()
    figures = found.stats if found else {}
    return Trial(
        number=number,
        settings=settings,
        state=state,
        loss=found.loss if found else None,
        figures={name: v for name, v in figures.items() if name.startswith("val_")},
        epochs=watched.losses,
        seconds=round(time.monotonic() - started, 2),
        shared=round(sum(_took(step) for step in steps if step.status == "reused"), 2),
        losses=f"{found.ref}/losses.npy" if found else "",
        why=why,
    )


class _Search:
    """What to try next: the study of the trials before, told anew."""

    def __init__(self, giants: tuple[str, ...], config: Config, before: Sequence[Trial]) -> None:
        self._giants, self._config = giants, config
        number = len(before)
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(
                seed=config.seed * 100_003 + number, n_startup_trials=_BLIND
            ),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_PATIENT, n_warmup_steps=_WARM, n_min_trials=2
            ),
        )
        for trial in before:
            self._study.add_trial(self._told(trial))
        self.trial = self._study.ask()

    def importance(self) -> dict[str, float]:
        """Of the settings that all have; none where they all are the same."""
        complete = [t for t in self._study.get_trials() if t.value is not None]
        if len({trial.value for trial in complete}) < 2:
            return {}
        common = set.intersection(*(set(trial.params) for trial in complete))
        found: dict[str, float] = optuna.importance.get_param_importances(
            self._study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
            params=sorted(name for name in common if name not in self._fixed()),
        )
        return found

    def _fixed(self) -> tuple[str, ...]:
        """What there is nothing to be drawn of."""
        return ("giant",) if len(self._giants) == 1 else ()

    def settings(self) -> dict[str, Any]:
        """What is drawn; the first trial is the recipe itself."""
        if self.trial.number == 0:
            return self._usual()
        return _drawn(self.trial, self._giants)

    def _usual(self) -> dict[str, Any]:
        return {"model.backbone": self._giants[0]}

    def _told(self, trial: Trial) -> Any:
        """A trial as Optuna has it."""
        fixed = optuna.trial.FixedTrial(_parameters(trial.settings))
        if trial.settings != self._usual():
            _drawn(fixed, self._giants)
        states = optuna.trial.TrialState
        complete = trial.loss is not None
        pruned = states.PRUNED if trial.epochs else states.FAIL
        return optuna.trial.create_trial(
            params=fixed.params if fixed.distributions else {},
            distributions=fixed.distributions,
            value=trial.loss,
            intermediate_values=trial.epochs,
            state=states.COMPLETE if complete else pruned,
        )


class _Watched:
    """Follows the epochs of a trial, and gives it up."""

    def __init__(self, search: _Search) -> None:
        self._trial = search.trial
        self.losses: dict[int, float] = {}

    def __call__(self, phase: str, epoch: int, loss: float) -> None:
        if not phase.startswith("fine_tune") or loss != loss:
            return
        self.losses[epoch] = loss
        self._trial.report(loss, epoch)
        if self._trial.should_prune():
            raise Pruned


# What parameters are called, where they are drawn, → keys of a recipe.
_PARAMETERS = {
    "giant": "model.backbone",
    "views": "augment.views",
    "features": "head.features",
    "unfreeze": "fine_tune.unfreeze",
    "rate": "fine_tune.learning_rate",
    "head_rate": "head.learning_rate",
    "dropout": "head.dropout",
}
_VIEWS, _UNFREEZE = (1, 4), (0, "25%", "50%", "all")


def _drawn(trial: Any, giants: tuple[str, ...]) -> dict[str, Any]:
    """Settings; those that mean nothing with others are not drawn."""
    found = {
        "giant": trial.suggest_categorical("giant", giants),
        "views": trial.suggest_categorical("views", _VIEWS),
        "features": trial.suggest_categorical("features", ("taps", "last")),
        "unfreeze": trial.suggest_categorical("unfreeze", _UNFREEZE),
    }
    if found["features"] == "last":
        found["head_rate"] = _round(trial.suggest_float("head_rate", 3e-4, 1e-2, log=True))
        found["dropout"] = _round(trial.suggest_float("dropout", 0.0, 0.5))
    if found["unfreeze"] != 0:
        found["rate"] = _round(trial.suggest_float("rate", 3e-6, 1e-3, log=True))
    return {_PARAMETERS[name]: value for name, value in found.items()}


def _parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: name for name, key in _PARAMETERS.items()}
    return {names[key]: value for key, value in settings.items()}


def _round(value: float) -> float:
    """To two digits: a recipe is read by people."""
    return float(f"{value:.2g}")


def _changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """The config with some of it changed."""
    return validate(merged(config.model_dump(), settings))


def _outside(study: Study, config: Config) -> Outside:
    request = requested(config, study.store)
    return resolve(request, study.runtime, past_runs(study.store.runs), study.recipe)


def _took(step: Step) -> float:
    """Seconds that a stage took when it ran."""
    return float(read_manifest(Path(step.artifact))["seconds"])


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """What is whole of the log: a kill may have left half a line."""
    if not log.exists():
        return
    text = log.read_text(encoding="utf-8")
    whole, _, half = text.rpartition("\n")
    if half:
        log.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
    if whole:
        yield from read_jsonl(log)


def _append(log: Path, trial: Trial) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(trial)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _said(trial: Trial, count: int) -> str:
    told = ", ".join(f"{key} {value}" for key, value in trial.settings.items())
    if trial.state == "failed":
        came = f"makes no sense: {trial.why}"
    elif trial.loss is None:
        came = f"given up after {len(trial.epochs)} epochs"
    else:
        came = f"loss {trial.loss:.4f}"
    return f"trial {trial.number + 1}/{count}: {came} ({told})"
