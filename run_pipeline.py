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

from components.section import BeamConfig
from models.mistakes import Mistake
from pipeline import config as configs
from pipeline.checks import check
from pipeline.config import Config
from pipeline.console import log_json
from pipeline.moved import check_flags
from pipeline.showing import to_toml
from pipeline.stopping import Stopped, has_stopped, on_sigterm
from pipeline.store import StoreIsHeld
from pipeline.targets import expanded

BUG, MISTAKE, NOT_BLESSED, HELD, STOPPED = 1, 2, 3, 4, 143
DEFAULT_STORE = Path(".store")

app = cyclopts.App(
    name="run_pipeline.py",
    help=__doc__,
    help_format="plaintext",
    version_flags=[],
)
Flags = Annotated[Config, cyclopts.Parameter(name="*")]


@app.command
def run(
    recipe: str = "digits",
    *,
    config: Flags = Config(),
    store: Path = DEFAULT_STORE,
    serving_dir: Path | None = None,
    fresh: bool = False,
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Run the pipeline: ingest to push.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        store: Where artifacts are kept and reused from.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: Compute every stage again.
        json: Print the result as one JSON object.
        log: How to tell of the run on stderr: json is an object a line.
    """
    from pipeline import commands

    check(config)
    return commands.run(recipe, config, store, serving_dir, fresh=fresh, as_json=json, log=log)


@app.command
def plan(
    recipe: str = "digits",
    *,
    config: Flags = Config(),
    store: Path = DEFAULT_STORE,
    serving_dir: Path | None = None,
    fresh: bool = False,
    json: bool = False,
) -> int:
    """Say which stages would run and which would be reused; computes nothing.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        store: Where artifacts are kept and reused from.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: As if every stage were to be computed again.
        json: Print the plan as one JSON object.
    """
    from pipeline import commands

    check(config)
    return commands.plan(recipe, config, store, serving_dir, fresh=fresh, as_json=json)


@app.command(name="compile")
def compile_(
    recipe: str = "digits",
    *,
    config: Flags = Config(),
    output: Annotated[Path, cyclopts.Parameter(name=["--output", "-o"])] = Path("pipeline.yaml"),
    store: str = str(DEFAULT_STORE),
    serving_dir: str | None = None,
    fresh: bool = False,
) -> int:
    """Write the pipeline for Kubeflow or Vertex AI: a task a stage, as --runtime says.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        output: The file to write, kfp's intermediate representation.
        store: Where artifacts are kept, as the tasks see it.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: Compute every stage again.
    """
    from pipeline import commands

    check(config)
    return commands.compile_pipeline(recipe, config, store, serving_dir, output, fresh=fresh)


@app.command
def submit(
    recipe: str = "digits",
    *,
    config: Flags = Config(),
    host: str = "",
    schedule: str = "",
    store: str = str(DEFAULT_STORE),
    serving_dir: str | None = None,
    fresh: bool = False,
) -> int:
    """Compile the pipeline, and have Kubeflow run it once or on a schedule.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        host: Kubeflow Pipelines' API; kfp's own way to find it if not given.
        schedule: Run it at these times, cron with six fields, the first of which are seconds.
        store: Where artifacts are kept, as the tasks see it.
        serving_dir: Where versions are pushed; STORE/serving/RECIPE if not given.
        fresh: Compute every stage again.
    """
    from pipeline import commands

    check(config)
    return commands.submit(recipe, config, store, serving_dir, host, schedule, fresh=fresh)


@app.command
def show(recipe: str = "digits", *, config: Flags = Config()) -> int:
    """Print the config that a recipe and flags come to, as TOML.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
    """
    check(config)
    sys.stdout.write(to_toml(config) + "\n")
    return 0


@app.command
def runs(*, store: Path = DEFAULT_STORE, json: bool = False) -> int:
    """List past runs and what became of them.

    Args:
        store: Where artifacts are kept.
        json: Print them as one JSON array.
    """
    from pipeline import commands

    return commands.runs(store, as_json=json)


@app.command
def prune(*, store: Path = DEFAULT_STORE, remove: bool = False, json: bool = False) -> int:
    """List stored activations that no artifact refers to.

    Args:
        store: Where artifacts are kept.
        remove: Remove them.
        json: Print them as one JSON object.
    """
    from pipeline import commands

    return commands.prune(store, remove=remove, as_json=json)


@app.command
def predict(
    model: Path,
    inputs: tuple[str, ...],
    /,
    *,
    output: Annotated[Path | None, cyclopts.Parameter(name=["--output", "-o"])] = None,
    batch_size: int = 64,
    beam: BeamConfig = BeamConfig(),
    json: bool = False,
) -> int:
    """Ask an exported model about files or texts, through its serving signature.

    With --output, in bulk: INPUT is then a folder, a CSV or JSONL file, or tfds:NAME, and what
    cannot be read goes to OUTPUT.quarantine.jsonl.

    Args:
        model: A version's directory.
        inputs: Files to classify; the texts themselves where the model reads text.
        output: Write the answers there: .jsonl, .parquet or .tfrecord.
        batch_size: Examples a request, in bulk.
        json: Print the answers as one JSON array; in bulk, what was written as one object.
    """
    from pipeline import commands

    if output:
        return commands.predict_in_bulk(model, inputs, output, batch_size, beam, as_json=json)
    return commands.predict(model, inputs, as_json=json)


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    on_sigterm()
    as_json = "--log=json" in arguments or ("--log", "json") in itertools.pairwise(arguments)
    try:
        if not arguments:
            arguments = ["run", "digits"]
        arguments = expanded(arguments)
        check_flags(arguments)
        app.config = []
        app.config = [_recipe_of(arguments)]
        result: Any = app(
            arguments, print_error=False, exit_on_error=False, result_action="return_value"
        )
        return int(result or 0)
    except Mistake as mistake:
        return _fail(str(mistake), MISTAKE, as_json)
    except cyclopts.CycloptsError as error:
        return _fail(_one_line(error), MISTAKE, as_json)
    except StoreIsHeld as held:
        return _fail(str(held), HELD, as_json)
    except Stopped as stopped:
        has_stopped()
        why = str(stopped) or "stopped"
        return _fail(f"{why}; run the same command again to go on", STOPPED, as_json)
    except Exception:
        if not as_json:
            raise
        return _fail(traceback.format_exc(), BUG, as_json)


def _recipe_of(arguments: list[str]) -> Any:
    """The recipe named on the command line, between the defaults and the flags."""
    command, *rest = arguments
    if command not in ("run", "plan", "compile", "submit", "show") or {"-h", "--help"} & set(rest):
        return lambda *_: None
    path = configs.recipe_path(_named_recipe(command, rest))
    content = configs.read_recipe(path)
    configs.validate(content)
    return cyclopts.config.Dict(content, source=str(path), use_commands_as_keys=False)


def _named_recipe(command: str, rest: list[str]) -> str:
    """Which recipe the arguments bind, wherever among the flags it stands."""
    _, bound, _ = app.parse_args([command, *rest], print_error=False, exit_on_error=False)
    return str(bound.arguments.get("recipe", "digits"))


def _one_line(error: cyclopts.CycloptsError) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        field, _, said = str(configs.mistake_of(cause)).partition(" ")
        return f"--{field.replace('_', '-')} {said}"
    return str(error)


def _fail(message: str, status: int, as_json: bool) -> int:
    if as_json:
        log_json("error", "run ended", message=message, status=status)
    else:
        sys.stderr.write(f"run_pipeline.py: {message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
