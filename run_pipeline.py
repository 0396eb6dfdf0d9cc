"""Shoulders: production transfer learning for Keras. Labelled examples in, a SavedModel out."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

# TensorFlow and Beam announce themselves on stderr unless told not to, before they are imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import cyclopts
from pydantic import ValidationError

from components import disk
from components.section import BeamConfig
from models.mistakes import Mistake
from models.version import described
from pipeline import recipe as recipes
from pipeline.cli import STORE, Flags, with_path
from pipeline.config import Config
from pipeline.console import log_json
from pipeline.flags import CONFIGURED, understood, unknown_command
from pipeline.server_cli import SERVERS
from pipeline.showing import to_toml
from pipeline.stopping import Interrupted, Stopped, has_stopped, on_signals, stopped_by
from pipeline.store import StoreIsHeld
from pipeline.study_cli import OF_MODELS, STUDIES
from pipeline.targets import expanded
from pipeline.usage import Usage

BUG, MISTAKE, NOT_BLESSED, HELD, INTERRUPTED, STOPPED = 1, 2, 3, 4, 130, 143

# As it was called: by its file, or as the command that `pip install` puts on the path.
NAME = Path(sys.argv[0]).name if Path(sys.argv[0]).stem == "shoulders" else "run_pipeline.py"
usage = Usage()
app = cyclopts.App(
    name=NAME,
    help=__doc__,
    help_format="plaintext",
    help_formatter=usage,
    version=lambda: f"Shoulders {described()}",
    suppress_keyboard_interrupt=False,
)


@app.command
def run(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    store: Path = STORE,
    serving_dir: Path | None = None,
    fresh: bool = False,
    watch: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Run the pipeline: ingest to push.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
        store: Where artifacts are kept and reused from.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: Compute every stage again.
        watch: Open a page to watch it: the studio.
        json: Print the result as one JSON object.
        log: How to tell of the run on stderr: json is an object a line.
    """
    from pipeline import commands

    config = with_path(config, path)
    return commands.run(
        recipe, config, store, serving_dir, fresh=fresh, watch=watch, as_json=json, log=log
    )


@app.command
def plan(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    store: Path = STORE,
    serving_dir: Path | None = None,
    fresh: bool = False,
    json: bool = False,
) -> int:
    """Say which stages would run and which would be reused; computes nothing.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
        store: Where artifacts are kept and reused from.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: As if every stage were to be computed again.
        json: Print the plan as one JSON object.
    """
    from pipeline import commands

    config = with_path(config, path)
    return commands.plan(recipe, config, store, serving_dir, fresh=fresh, as_json=json)


@app.command(name="compile")
def compile_(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    output: Annotated[Path, cyclopts.Parameter(name=["--output", "-o"])] = Path("pipeline.yaml"),
    store: str = str(STORE),
    serving_dir: str | None = None,
    fresh: bool = False,
) -> int:
    """Write the pipeline for Kubeflow or Vertex AI: a task a stage, as --runtime says.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
        output: The file to write, kfp's intermediate representation.
        store: Where artifacts are kept, as the tasks see it.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: Compute every stage again.
    """
    from pipeline import commands

    config = with_path(config, path)
    return commands.compile_pipeline(recipe, config, store, serving_dir, output, fresh=fresh)


@app.command
def submit(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    host: str = "",
    schedule: str = "",
    store: str = str(STORE),
    serving_dir: str | None = None,
    fresh: bool = False,
) -> int:
    """Compile the pipeline, and have Kubeflow run it once or on a schedule.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
        host: Kubeflow Pipelines' API; kfp's own way to find it if not given.
        schedule: Run it at these times, cron with six fields, the first of which are seconds.
        store: Where artifacts are kept, as the tasks see it.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: Compute every stage again.
    """
    from pipeline import commands

    config = with_path(config, path)
    return commands.submit(recipe, config, store, serving_dir, host, schedule, fresh=fresh)


@app.command
def show(recipe: str = "digits", path: str = "", *, config: Flags = Config()) -> int:
    """Print the config that a recipe and flags come to, as TOML.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
    """
    config = with_path(config, path)
    sys.stdout.write(to_toml(config) + "\n")
    return 0


for _study in STUDIES:
    app.command(_study)


@app.command
def runs(recipe: str = "", *, store: Path = STORE, json: bool = False) -> int:
    """List past runs and what became of them.

    Args:
        recipe: Only runs of this one.
        store: Where artifacts are kept.
        json: Print them as one JSON array.
    """
    from pipeline import commands

    return commands.runs(store, recipe, as_json=json)


@app.command
def compare(
    first: str,
    others: tuple[str, ...] = (),
    /,
    *,
    store: Path = STORE,
    page: Path | None = None,
    json: bool = False,
) -> int:
    """Put past runs side by side, on the test examples that they were asked about.

    Args:
        first: The id of a run, or what it begins or ends with; see runs.
        others: Others, whose changes from the first are told.
        store: Where artifacts are kept.
        page: Write a page with curves and seconds, too: a file that ends in .html.
        json: Print the comparison as one JSON object; of several others, a list of them.
    """
    from pipeline import commands

    return commands.compare(store, first, others, page, as_json=json)


@app.command
def prune(
    *,
    store: Path = STORE,
    keep_runs: int | None = None,
    remove: bool = False,
    json: bool = False,
) -> int:
    """List stored activations that no artifact refers to, and artifacts of old runs.

    Args:
        store: Where artifacts are kept.
        keep_runs: List artifacts, too, that are needed neither by so many last runs of each recipe
            nor by what is served.
        remove: Remove them.
        json: Print them as one JSON object.
    """
    from pipeline import commands

    return commands.prune(store, keep_runs, remove=remove, as_json=json)


@app.command
def rollback(
    model: Path,
    *,
    to: int,
    reason: str,
    store: Path = STORE,
    json: bool = False,
) -> int:
    """Publish an earlier version again, as the next one, and withdraw those above it.

    Args:
        model: The name of what was pushed, such as photos, or its serving directory.
        to: The version to go back to.
        reason: Why; it is kept with the versions.
        store: Where a name is looked for.
        json: Print what was published as one JSON object.
    """
    from pipeline import commands

    return commands.rollback(model, to, reason, store, as_json=json)


@app.command
def predict(
    model: Path,
    inputs: tuple[str, ...] = (),
    /,
    *,
    store: Path = STORE,
    output: Annotated[Path | None, cyclopts.Parameter(name=["--output", "-o"])] = None,
    batch_size: int = 64,
    every: float | None = None,
    events: float | None = None,
    release: float | None = None,
    check: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    public_key: Path | None = None,
    root: Path | None = None,
    beam: BeamConfig = BeamConfig(),
    json: bool = False,
) -> int:
    """Ask an exported model about files or texts, through its serving signature.

    With --output, in bulk: INPUT is then a folder, a CSV or JSONL file, or tfds:NAME, and what
    cannot be read goes to OUTPUT.quarantine.jsonl.

    Args:
        model: A version's directory; or the name of what was pushed, such as photos, or its
            serving directory, whose newest version is meant.
        inputs: Files to classify; the texts themselves where the model reads text.
        store: Where a name is looked for.
        output: Write the answers there: .jsonl, .parquet or .tfrecord.
        batch_size: Examples a request, in bulk and with --every.
        every: Seconds. Of recordings, however long: tell what is heard moment by moment, start,
            end, label and probability.
        events: With --every: tell where each label was heard instead. An event begins where the
            label is at least so probable, …
        release: … and ends where it is less probable than this, six tenths of that where not given.
        check: Ask it about the examples that travel with it, and nothing else: exit 2 where it says
            something else of them than when it was exported.
        public_key: PEM: load the model only where it is signed by it.
        root: With --output: files must be in this folder, wherever links and the rows of tables
            lead: the folder itself, or that of the table, where not given; / for anywhere.
        json: Print the answers as one JSON array; in bulk, what was written as one object.
    """
    from pipeline import commands

    if public_key:
        model = commands.signed(model, store, public_key)
    if check:
        return commands.check_model(model, inputs, store, as_json=json)
    if every is not None:
        if output:
            raise Mistake("--output must be left out with --every, which prints, as --json too")
        moments = commands.Moments(every, events, release, batch_size)
        return commands.predict_timeline(model, inputs, store, moments, as_json=json)
    if events is not None or release is not None:
        raise Mistake("--events and --release must be given with --every")
    if output:
        return commands.predict_in_bulk(
            model, inputs, store, output, batch_size, beam, root, as_json=json
        )
    return commands.predict(model, inputs, store, as_json=json)


for _command in (*OF_MODELS, *SERVERS):
    app.command(_command)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        arguments: those of the process where not given.
    """
    on_signals()
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--log=json" in given or ("--log", "json") in itertools.pairwise(given)
    try:
        words = usage.asked(expanded(understood(given)))
        _check_command(words[0])
        app.config = []
        app.config = [_recipe_of(words)]
        result: Any = app(
            words, print_error=False, exit_on_error=False, result_action="return_value"
        )
        return int(result or 0)
    except Mistake as mistake:
        return _fail(str(mistake), MISTAKE, as_json)
    except cyclopts.CycloptsError as error:
        return _fail(_one_line(error), MISTAKE, as_json)
    except StoreIsHeld as held:
        return _fail(str(held), HELD, as_json)
    except (Stopped, Exception) as error:
        if stopped := stopped_by(error):
            has_stopped()
            status = INTERRUPTED if isinstance(stopped, Interrupted) else STOPPED
            what = f"{str(stopped) or 'stopped'}; run the same command again to go on"
            return _fail(what, status, as_json)
        if of_disk := disk.mistake_of(error):
            return _fail(str(of_disk), MISTAKE, as_json)
        if not as_json:
            raise
        return _fail(traceback.format_exc(), BUG, as_json)


def _check_command(word: str) -> None:
    known = [name for name in app if not name.startswith("-")]
    if not word.startswith("-") and word not in known:
        raise unknown_command(word, known, recipes.recipes())


def _recipe_of(arguments: list[str]) -> Any:
    """The recipe named on the command line, between the defaults and the flags."""
    command, *rest = arguments
    if command not in CONFIGURED or {"-h", "--help"} & set(rest):
        return lambda *_: None
    name, preset = _named_recipe(command, rest)
    path = recipes.recipe_path(name)
    content = recipes.read_recipe(path, preset)
    recipes.validate(content)
    return cyclopts.config.Dict(content, source=str(path), use_commands_as_keys=False)


def _named_recipe(command: str, rest: list[str]) -> tuple[str, str]:
    """Which recipe the arguments bind, wherever among the flags it stands; and which preset."""
    _, bound, _ = app.parse_args([command, *rest], print_error=False, exit_on_error=False)
    recipe, config = bound.arguments.get("recipe"), bound.arguments.get("config")
    if recipe is None and config and config.data.path:
        raise Mistake(
            f"RECIPE must be given where there is a path, got {config.data.path!r} alone: "
            f"{command} photos, {command} sentiment …; known: {', '.join(recipes.recipes())}"
        )
    if (path := bound.arguments.get("path")) and config and config.data.path:
        raise Mistake(f"the examples must be named once, got {path!r} and {config.data.path!r}")
    return str(recipe or "digits"), config.preset if config else "none"


def _one_line(error: cyclopts.CycloptsError) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        field, _, said = str(recipes.mistake_of(cause)).partition(" ")
        return f"--{field.replace('_', '-')} {said}"
    if isinstance(error, cyclopts.UnusedCliTokensError):
        words = " ".join(map(repr, error.unused_tokens or []))
        return f"there must be nothing behind the recipe and the path, got {words} (see --help)"
    return str(error)


def _fail(message: str, status: int, as_json: bool) -> int:
    if as_json:
        log_json("error", "run ended", message=message, status=status)
    else:
        sys.stderr.write(f"{NAME}: {message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
