"""What another head, or more of the giant, would be like: tried on what a run has stored.

A head is fitted beside the store, in a second, whoever else is at work in it. What has to be
computed by the giant, or fine-tuned, is computed in the store, where a run would find it. Both are
the flow's own stages, so that a run with these settings comes to the same.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components.artifacts import Artifact, AssembledModel, Examples, Score
from components.extract import extract
from components.files import read_json, write_json
from components.fine_tune import fine_tune
from components.frozen import drawing
from components.frozen.activations import Damaged
from components.tasks.table import TASKS
from models import splitting
from models.mistakes import Mistake
from models.quiet import import_tensorflow
from pipeline.checks import check
from pipeline.config import Config
from pipeline.console import JsonLines, Log, Several, open_log
from pipeline.events import EVENTS, EventFile, end_file
from pipeline.flow import Run, given, tried
from pipeline.interpreters.aside import Aside, NotQuick
from pipeline.interpreters.base import Invocation
from pipeline.interpreters.execute import Executor, execute
from pipeline.interpreters.plan import Planner
from pipeline.lab import batch
from pipeline.lab.experiment import Experiment, identity
from pipeline.processes import TENSORFLOW
from pipeline.recipe import merged, validate
from pipeline.records import RunRecord, Step, Watch
from pipeline.runtime import choose_backend
from pipeline.session import runtime_of
from pipeline.showing import as_recipe, departures
from pipeline.store import Store
from pipeline.working import at_work

if TYPE_CHECKING:
    import pandas as pd

A = TypeVar("A", bound=Artifact)

LAB, _NETWORK = "lab", "network.json"
# What the run itself is called, among experiments.
RUN = "run"
# Sections of the config that an experiment may change, and keys beside them; and its task's.
_SECTIONS, _KEYS = ("head", "fine_tune", "augment"), ("strategy",)
# Models that are kept in mind before all are forgotten.
_MOST = 60


class Lab:
    """Experiments on what one run has stored.

    Attributes:
        place: of what is computed beside the store, until `close` is called or nobody has the lab.
    """

    def __init__(self, store: Store, record: RunRecord) -> None:
        """
        Raises:
            Mistake: the run does not say how it was made, or what it stored is gone.
        """
        if not record.settings:
            raise Mistake(
                f"the run must say what it was asked for, got {record.run_id}, which is of an "
                f"earlier version: run its recipe again"
            )
        self.store, self.record = store, record
        self.config = validate(merged({}, record.settings))
        self.examples = self._of("ingest", Examples)
        self.model = self._of("assemble", AssembledModel)
        self.folder = store.root / LAB / record.run_id
        self.place = Path(tempfile.mkdtemp(prefix="lab-"))
        self.close = weakref.finalize(self, shutil.rmtree, self.place, ignore_errors=True)
        self._aside = Aside(store, self.place, _is_quick)

    def _of(self, stage: str, kind: type[A]) -> A:
        refs = {each["name"]: each["artifact"] for each in self.record.stages}
        found = self.store.load(kind, refs[stage]) if stage in refs else None
        if found is None:
            raise Mistake(
                f"the run must have what {stage} made, got {self.record.run_id}, of which it is "
                f"gone: run its recipe again"
            )
        return found

    def config_of(self, settings: Mapping[str, Any]) -> Config:
        """The run's config with some of it changed.

        Raises:
            Mistake: a key of what is stored already, or a value that will not do.
        """
        tasks = {column.task for column in self.config.columns} & {*TASKS}
        for key in settings:
            if key not in _KEYS and key.partition(".")[0] not in {*_SECTIONS, *tasks}:
                known = ", ".join([*_SECTIONS, *sorted(tasks), *_KEYS])
                raise Mistake(f"an experiment must change one of {known}, got {key!r}")
        config = validate(merged(self.config.model_dump(), settings))
        check(config)
        return config

    def first_block(self, settings: Mapping[str, Any]) -> str | None:
        """The first block that an experiment unfreezes; the run, without settings."""
        blocks = dict.fromkeys(self.model.stats["blocks"], 0)
        return splitting.resolve_block(blocks, self.config_of(settings).unfreeze)

    def settled(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Of the settings, those that are not as in the run."""
        config, usual = self.config_of(settings), self.config
        return {key: _at(config, key) for key in settings if _at(config, key) != _at(usual, key)}

    def answer(self, settings: Mapping[str, Any]) -> Experiment:
        """What a change comes to, at once.

        Raises:
            NotQuick: it takes long.
            Mistake: see `config_of`; or what is stored is damaged.
        """
        settings = self.settled(settings)
        config = self.config_of(settings)
        if choose_backend(config.runtime) != TENSORFLOW:
            raise NotQuick("train_head")
        import_tensorflow()
        if len(self._aside.made) > _MOST:
            self._forget()
        began = time.monotonic()
        try:
            score = self._part(self._aside, config)
        except Damaged as damaged:
            raise Mistake(f"{damaged}: run the recipe again") from damaged
        return Experiment.of(settings, score, time.monotonic() - began)

    def compute(self, settings: Mapping[str, Any], log: Log) -> Experiment:
        """What a change comes to, however long that takes; it is kept.

        Raises:
            StoreIsHeld: another run is at work in the store.
            Mistake: see `config_of`.
        """
        settings = self.settled(settings)
        config, store = self.config_of(settings), self.store
        folder = self.folder / identity(settings)
        runtime = runtime_of(
            config, store, Path(self.record.serving), self.record.recipe, fresh=False
        )
        with (
            at_work(store, runtime.serving, config.runtime.deadline),
            EventFile(folder / EVENTS) as events,
        ):
            for ended in folder.glob("*.end"):  # Of the same experiment, before.
                ended.unlink()
            began = time.monotonic()
            console = Several(log, JsonLines(events.write, every=1.0))
            last = {each["name"]: each["artifact"] for each in self.record.stages}
            planned: list[Step] = []
            self._part(Planner(store, False, planned, last), config)
            console.open(self.record.recipe, planned, {}, run=self.record.run_id, settings=settings)
            steps: list[Step] = []
            run = Executor(store, runtime, console, steps, watch=_Watched(folder))
            try:
                score = execute(lambda: self._part(run, config), console, steps)
            except BaseException as error:
                console.stop()
                console.close(f"failed: {error}")
                raise
            found = Experiment.of(settings, score, time.monotonic() - began)
            found.save(folder)
            console.close("done")
        return found

    def experiment(self, settings: Mapping[str, Any], log: Log | None = None) -> Experiment:
        """What a change comes to: at once where it can be, and kept in both cases.

        Args:
            log: told of what takes long; on stderr where None.
        """
        log = log or open_log("text")
        try:
            found = self.answer(settings)
        except NotQuick:
            return self.compute(settings, log)
        return self.keep(found)

    def keep(self, found: Experiment) -> Experiment:
        """Have it listed from now on."""
        found.save(self.folder / found.id)
        return found

    def known(self, name: str) -> Experiment | None:
        """One that was kept; or the `run` itself, where that can be had at once."""
        if not name.isalnum():  # Nothing that leads to another folder.
            return None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return Experiment.load(self.folder / name)
        with contextlib.suppress(NotQuick):
            return self.answer({}) if name in (RUN, identity({})) else None
        return None

    def compared(self, found: Experiment, name: str = RUN) -> pd.DataFrame:
        """A row a figure: what it is, that of another experiment, the interval of the difference.

        Raises:
            Mistake: none is called so; see `known`.
        """
        import pandas as pd

        other = self.known(name)
        if other is None:
            names = ", ".join([RUN, *(each.id for each in self.kept())])
            raise Mistake(f"an experiment must be one of {names}, got {name!r}")
        columns = ["name", "value", "other", "low", "high", "verdict"]
        return pd.DataFrame(found.beside(other))[columns].set_index("name")

    def kept(self) -> list[Experiment]:
        """Those that were kept, the first first; one that is damaged is passed over."""
        found = []
        for path in self.folder.glob("*/experiment.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(Experiment.load(path.parent))
        return sorted(found, key=lambda each: each.made)

    @property
    def frame(self) -> pd.DataFrame:
        """A row an experiment that was kept: what was changed, the figures, the seconds."""
        import pandas as pd

        rows = [{**each.settings, **each.figures, "seconds": each.seconds} for each in self.kept()]
        return pd.DataFrame(rows, index=[each.id for each in self.kept()])

    def network(self) -> list[dict[str, Any]]:
        """The giant's blocks, with what would cross a cut before each; see `drawing.Block`."""
        path = self.folder / _NETWORK
        with contextlib.suppress(OSError, ValueError):
            known: list[dict[str, Any]] = read_json(path)
            return known
        import_tensorflow()
        found = [asdict(block) for block in drawing.blocks(self.model, self.config.extract.dtype)]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
        return found

    def batch(self) -> dict[str, Any]:
        """The first batch of training, as the giant reads it; see `batch.first`."""
        import_tensorflow()
        return batch.first(self.config, self.model, self.examples)

    def fork(self, settings: Mapping[str, Any]) -> tuple[Path, list[str]]:
        """Write a recipe of the run with a change; that file, and the command's arguments."""
        config = self.config_of(settings)
        path = self.folder / identity(self.settled(settings)) / f"{self.record.recipe}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        comment = f"As {self.record.run_id}, but for what was tried in its lab."
        path.write_text(as_recipe(departures(config), [comment]), encoding="utf-8")
        command = ["run", str(path), "--store", str(self.store.root)]
        if Path(self.record.serving) != self.store.root / "serving" / self.record.recipe:
            command += ["--serving-dir", self.record.serving]
        return path, command

    def _part(self, run: Run, config: Config) -> Score:
        """The part of the flow that depends on what an experiment may change."""
        features = given(run, config, self.model, self.examples, config.vectors)
        judged = self.config.learning.judged  # What an experiment minimizes is its own.
        return tried(run, config, self.model, self.examples, features, judged)

    def _forget(self) -> None:
        for name in self._aside.made:
            shutil.rmtree(self.place / name, ignore_errors=True)
        self._aside.made.clear()


def line_of(command: list[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(["python", "run_pipeline.py", *command])


def _is_quick(asked: Invocation) -> bool:
    """Heads are; what the giant has to compute is not, nor is to train it."""
    if asked.stage is extract:
        return False
    return asked.stage is not fine_tune or _trains_nothing(asked)


def _trains_nothing(asked: Invocation) -> bool:
    model, features = asked.args[:2]
    return features.block is None or bool(model.settled)


def _at(config: Config, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


class _Watched(Watch):
    """Whether a person wants a stage of an experiment to end its training."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def end_file(self, name: str) -> Path | None:
        return end_file(self._folder, name)
