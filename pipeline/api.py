"""Shoulders from Python, as the command line has it, which is a client of this module.

```python
from pipeline import api

result = api.run("photos", {"data.path": "PHOTOS"})
result.figures                                  # a DataFrame; a notebook shows `result` itself
model = api.load(result.pushed)
model.predict(["PHOTO.jpg"]).frame
```
"""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from etils import epy

from components import disk
from components.files import check_place, sha256
from components.job import silence
from components.modalities.table import MODALITIES
from components.served import fresh, signing
from components.served.manifest import MANIFEST, find_model, targets_of, verify_manifest
from components.served.versions import LOCK, ROLLED_BACK, ServingDirectory
from components.tasks.protocol import Target
from models.mistakes import Mistake, printable
from models.quiet import import_tensorflow
from pipeline import finalists, local, presets
from pipeline.checks import check, check_giant
from pipeline.config import Config
from pipeline.console import JsonLines, Log, Several, open_log
from pipeline.estimates import estimates
from pipeline.events import EVENTS, EventFile
from pipeline.flow import Outside, flow
from pipeline.interpreters.execute import Executor, execute
from pipeline.interpreters.help import leading
from pipeline.interpreters.plan import Planner
from pipeline.interpreters.trace import trace
from pipeline.lab.lab import Lab
from pipeline.outside import resolve, resolve_request
from pipeline.recipe import nested, over, read_recipe, recipe_path, validate
from pipeline.records import RunRecord, Step, last_of, past_runs
from pipeline.results import Plan, Predictions, RunResult
from pipeline.runtime import Runtime
from pipeline.session import Account, begin, runtime_of
from pipeline.showing import departures
from pipeline.stopping import Stopped, has_stopped, stopped_by
from pipeline.store import Store, StoreIsHeld, held
from pipeline.studies import Study
from pipeline.working import at_work

with epy.lazy_imports():
    from components.served import matching, opening, timeline
    from components.served import predict as asking

__all__ = [
    "Mistake",
    "Model",
    "Plan",
    "Predictions",
    "RunResult",
    "Stopped",
    "StoreIsHeld",
    "configured",
    "lab",
    "load",
    "plan",
    "rollback",
    "run",
    "runs",
    "studio",
]

STORE = Path(".store")
NOTHING: Mapping[str, Any] = MappingProxyType({})


def configured(recipe: str = "digits", changes: Mapping[str, Any] = NOTHING) -> Config:
    """The config that a recipe and changes come to.

    Args:
        recipe: a name in `pipeline/recipes/`, or a TOML file.
        changes: as in a recipe, or with dots: `{"head": {"epochs": 3}}`, `{"head.epochs": 3}`.

    Raises:
        Mistake: a key or a value that will not do.
    """
    given = nested(changes)
    content = read_recipe(recipe_path(recipe), given.get("preset", "none"))
    config = validate(over(content, given))
    check(config)
    return config


def run(
    recipe: str = "digits",
    changes: Mapping[str, Any] | Config = NOTHING,
    *,
    store: Path | str = STORE,
    serving_dir: Path | str | None = None,
    fresh: bool = False,
    log: Literal["text", "json"] | Log = "text",
) -> RunResult:
    """Execute the pipeline: ingest to push.

    Args:
        recipe: a name in `pipeline/recipes/`, or a TOML file.
        changes: see `configured`; or the whole config.
        store: where artifacts are kept and reused from.
        serving_dir: where versions are pushed; `STORE/serving/RECIPE` if not given.
        fresh: compute every stage again.
        log: how to tell of the run on stderr.

    Raises:
        Mistake: in the config or the data, in one line.
        StoreIsHeld: another run is at work in this store.
        Stopped: at the deadline; it is no Exception.
    """
    config = changes if isinstance(changes, Config) else configured(recipe, changes)
    name, opened = recipe_path(recipe).stem, Store(Path(store))
    runtime = _runtime(config, opened, serving_dir, name, fresh=fresh)
    if runtime.hosts.rank:
        raise Mistake(
            f"api.run must be on the first of several hosts, got it on number "
            f"{runtime.hosts.rank + 1}: the others help by the command line"
        )
    console = open_log(log) if isinstance(log, str) else log
    with (
        at_work(opened, runtime.serving, config.runtime.deadline),
        contextlib.ExitStack() as stack,
    ):
        started = time.monotonic()
        earlier = past_runs(opened.runs)
        elected = ""
        if config.preset != "none":
            console.say(presets.price(config))
        if config.model.finalists > 1:
            study = Study(name, config, opened, runtime, console, held=True)
            config, elected = finalists.elect(study)
            console.say(elected)
        session = begin(name, config, runtime, opened, console.say, elected)
        events = stack.enter_context(EventFile(session.folder / EVENTS))
        console = Several(console, JsonLines(events.write, every=1.0))
        steps: list[Step] = []
        try:
            planned = _plan(name, config, runtime, opened, session.outside, earlier)
            disk.require_room(opened.root, planned.written, "what runs, by the last time")
            after = {name: node.after for name, node in trace(config).items()}
            facts = {
                "run": session.record.run_id,
                "settings": departures(config),
                "after": after,
            }
            console.open(name, planned.steps, planned.known, **facts)
            several = runtime.hosts.count > 1
            announce = stack.enter_context(leading(session)) if several else None
            executor = Executor(
                opened, runtime, console, steps, announce=announce, watch=Account(session)
            )
            outcome = execute(lambda: flow(executor, config, session.outside), console, steps)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt) or stopped_by(error) is not None
            if stopped:
                has_stopped()
            console.stop()
            why = "stopped" if stopped else f"failed: {error}"
            with contextlib.suppress(OSError):  # Of a disk that is full.
                session.fail(time.monotonic() - started, why, steps)
            console.close(why)
            raise
        result = session.end(config, time.monotonic() - started, outcome, steps)
        console.close(result.outcome, **result.summary)
        return result


def plan(
    recipe: str = "digits",
    changes: Mapping[str, Any] | Config = NOTHING,
    *,
    store: Path | str = STORE,
    serving_dir: Path | str | None = None,
    fresh: bool = False,
) -> Plan:
    """Which stages would run, and which would be reused; computes nothing.

    What `run` would refuse before it computes anything is refused here, too.
    """
    config = changes if isinstance(changes, Config) else configured(recipe, changes)
    name, opened = recipe_path(recipe).stem, Store(Path(store))
    runtime = _runtime(config, opened, serving_dir, name, fresh=fresh)
    request = resolve_request(config, download=False, digests=opened.digests)
    check_giant(config, request.giant, opened)
    earlier = past_runs(opened.runs)
    outside = resolve(request, runtime, earlier, name)
    return _plan(name, config, runtime, opened, outside, earlier)


def rollback(
    model: Path | str, to: int, reason: str, *, store: Path | str = STORE, check: bool = True
) -> Path:
    """Publish an earlier version again, as the next one; the directory of that.

    The versions above it are withdrawn: a scheduled run does not push such a model again by itself.

    Args:
        model: a serving directory, or the name of one in `STORE/serving`.
        to: the version to go back to.
        reason: is kept with the versions.
        check: load it in a new process before.

    Raises:
        Mistake: there is no such version, or it is damaged, or does not say what it said.
        StoreIsHeld: a run is at work in this serving directory.
    """
    named = Path(model).expanduser()
    below = Store(Path(store)).root / "serving" / named
    serving = ServingDirectory((named if ServingDirectory(named).versions() else below).resolve())
    if not reason.strip():
        raise Mistake("--reason must say why, got nothing")
    if not serving.path.is_dir():
        raise Mistake(f"MODEL must have versions, got none in {str(serving.path)!r}")
    with held(serving.path / LOCK, "serving directory", "MODEL"):
        versions = serving.versions()
        if to not in versions:
            known = ", ".join(map(str, versions)) or "none"
            raise Mistake(
                f"--to must be a version of {str(serving.path)!r}, got {to}: there are {known}"
            )
        if to == versions[-1]:
            raise Mistake(f"--to must be an earlier version than what is served, got {to}")
        path = serving.version(to)
        manifest = verify_manifest(path)
        if check:
            fresh.check(path, manifest["modality"], fresh.MEMORY, fresh.SECONDS)
        kept = sha256(path / MANIFEST)
        above = (serving.version(each) / MANIFEST for each in versions if each > to)
        digests = {sha256(each) for each in above if each.is_file()} - {kept}
        said: dict[str, Any] = {
            "to": to,
            "reason": printable(reason.strip()),
            "withdrawn": sorted(digests),
        }
        return serving.put(path, ROLLED_BACK, **said)


def runs(store: Path | str = STORE, recipe: str = "") -> list[RunRecord]:
    """The records of past runs, the oldest first; of one recipe, where it is given."""
    found = past_runs(Store(Path(store)).runs)
    if recipe and not any(record.recipe == recipe for record in found):
        known = ", ".join(sorted({record.recipe for record in found})) or "none at all"
        raise Mistake(f"RECIPE must have runs in {str(store)!r}, got {recipe!r}: there are {known}")
    return [record for record in found if recipe in ("", record.recipe)]


def lab(run: str = "", *, store: Path | str = STORE) -> Lab:
    """Experiments on what a run has stored: another head at once, or more of the giant trained.

    ```python
    lab = api.lab()
    lab.experiment({"head.dropout": 0.5})
    lab.frame                                   # a row an experiment
    ```

    Args:
        run: its id; the last one, where it is not given.

    Raises:
        Mistake: there is none, or what it has stored is gone.
    """
    opened = Store(Path(store))
    found = {record.run_id: record for record in past_runs(opened.runs)}
    if not found or (run and run not in found):
        known = f"the last is {list(found)[-1]}" if found else "there is none"
        raise Mistake(f"RUN must be the id of a run in {str(store)!r}, got {run!r}: {known}")
    return Lab(opened, found[run] if run else list(found.values())[-1])


@dataclass(frozen=True)
class Studio:
    """A page over a store; a notebook on this machine shows it in a frame."""

    url: str
    process: Any

    def close(self) -> None:
        """End it; it ends with this process, too."""
        local.end(self.process)

    def _repr_html_(self) -> str:
        # As most notebooks are: by another name of this machine, it would be another site.
        here = html.escape(self.url.replace("127.0.0.1", "localhost"))
        return (
            f'<iframe src="{here}" width="100%" height="800" style="border: 0"></iframe>'
            f'<p><a href="{here}" target="_blank">in a tab of its own</a></p>'
        )


def studio(*, store: Path | str = STORE, port: int = 8787) -> Studio:
    """Open the studio over a store.

    Args:
        port: of the page; where it is in use, the next one that is free.
    """
    process, url = local.apart(Path(store), port, silence, framed=True)
    return Studio(url, process)


@dataclass(frozen=True)
class Model:
    """A model that was exported or pushed, and whose files match its manifest."""

    path: Path
    modality: str
    targets: tuple[Target, ...]

    def predict(self, inputs: Sequence[str | Path]) -> Predictions:
        """What it says of each, through the signature that is served.

        Args:
            inputs: files; the texts themselves where the model reads text.
        """
        import_tensorflow()
        names = tuple(map(str, inputs))
        return Predictions(tuple(asking.predict(self.path, self.modality, self.targets, names)))

    def timeline(
        self, recording: str | Path, every: float, *, batch_size: int = 64
    ) -> Iterator[timeline.Step]:
        """What it says of each moment of a recording, however long, `every` seconds.

        `components.served.timeline.events` makes events of that.
        """
        path = Path(recording)
        asking.check_inputs((str(path),), self.modality)
        import_tensorflow()
        return timeline.steps(self.path, self.modality, self.targets, path, every, batch_size)

    def match(self, first: str | Path, second: str | Path) -> matching.Match:
        """Whether two examples are of one kind, by the signature `embed`."""
        names = (str(first), str(second))
        asking.check_inputs(names, self.modality)
        import_tensorflow()
        return matching.match(self.path, self.modality, *names)

    def check(self) -> int:
        """How many golden examples it says the same of as when it was exported.

        Raises:
            Mistake: it says something else of one.
        """
        import_tensorflow()
        return opening.check(self.path, self.modality)

    @property
    def title(self) -> str:
        """Which model it is, and what it says, in a line."""
        plural = MODALITIES[self.modality].raw.plural
        said = [
            f"{t.name}: {words}" if t.name else words
            for t in self.targets
            for words in [", ".join(t.space.labels) or f"a {t.task}"]
        ]
        name = "/".join(self.path.parts[-2:])
        return printable(f"{name} reads {plural} and says {'; '.join(said)}")


def load(
    model: Path | str, store: Path | str = STORE, public_key: Path | str | None = None
) -> Model:
    """A model, after its files were compared with its manifest; TensorFlow is not yet asked.

    Args:
        model: a version's directory; a serving directory, whose newest version is meant; or the
            name of one in `STORE/serving`.
        public_key: PEM; it must be signed by it.

    Raises:
        Mistake: it is not there, not what was written, or not signed.
    """
    path = find_model(Path(model).expanduser(), Store(Path(store)).root / "serving")
    check_place(path.resolve(), "MODEL")
    manifest = verify_manifest(path)
    if public_key:
        signing.verify(path, Path(public_key))
    return Model(path.resolve(), manifest["modality"], targets_of(manifest))


def _runtime(
    config: Config, store: Store, serving_dir: Path | str | None, recipe: str, *, fresh: bool
) -> Runtime:
    serving = Path(serving_dir) if serving_dir else None
    return runtime_of(config, store, serving, recipe, fresh=fresh)


def _plan(
    recipe: str,
    config: Config,
    runtime: Runtime,
    store: Store,
    outside: Outside,
    earlier: list[RunRecord],
) -> Plan:
    steps: list[Step] = []
    flow(Planner(store, runtime.fresh, steps, last_of(earlier, recipe)), config, outside)
    return Plan(recipe, tuple(steps), estimates(earlier, recipe))
