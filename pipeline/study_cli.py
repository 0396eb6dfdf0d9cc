"""The commands that find out or change something without a run, as the command line has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from pipeline.cli import STORE, Flags, with_path
from pipeline.config import Config


def advise(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    giants: str = "",
    sample: int = 640,
    output: Annotated[Path, cyclopts.Parameter(name=["--output", "-o"])] = Path("advised.toml"),
    store: Path = STORE,
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Tell which giant to take and how much of it, by a sample; writes a recipe to run.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
        giants: Values of --model.backbone, a comma between them, =none or another value of
            --model.weights behind one where its own weights are not meant; those whose weights are
            on this machine where not given.
        sample: So many examples to train and to validate with are looked at.
        output: The recipe to write.
        store: Where artifacts are kept and reused from.
        json: Print the advice as one JSON object.
        log: How to tell of the work on stderr: json is an object a line.
    """
    from pipeline import study_commands

    config = with_path(config, path)
    names = tuple(filter(None, map(str.strip, giants.split(","))))
    return study_commands.advise(
        recipe, config, store, names, sample, output, as_json=json, log=log
    )


def tune(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    trials: int = 20,
    giants: str = "",
    output: Annotated[Path, cyclopts.Parameter(name=["--output", "-o"])] = Path("tuned.toml"),
    store: Path = STORE,
    serving_dir: Path | None = None,
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Search for a better way, on examples to validate with, and run the best that was found.

    Killed, it goes on where it was; trials share every stage that they have in common.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file; it is the first trial.
        path: The labelled examples; the same as --data.path.
        trials: How many there are to be; fewer where --runtime.budget ends.
        giants: Values of --model.backbone to be tried, a comma between them; the recipe's own where
            not given.
        output: The recipe of the best to write.
        store: Where artifacts are kept and reused from.
        serving_dir: Where the best is pushed; STORE/serving/RECIPE if not given.
        json: Print the trials and the run as one JSON object.
        log: How to tell of the work on stderr: json is an object a line.
    """
    from pipeline import study_commands

    config = with_path(config, path)
    names = tuple(filter(None, map(str.strip, giants.split(","))))
    return study_commands.tune(
        recipe, config, store, serving_dir, names, trials, output, as_json=json, log=log
    )


def learning_curve(
    recipe: str = "digits",
    path: str = "",
    *,
    config: Flags = Config(),
    goal: float | None = None,
    store: Path = STORE,
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Tell how many more labels are needed, by heads fitted to fewer of them; trains nothing.

    Args:
        recipe: A name in pipeline/recipes/, or a TOML file.
        path: The labelled examples; the same as --data.path.
        goal: What is to be reached, such as an accuracy of 0.95; the next round one where not
            given.
        store: Where artifacts are kept and reused from.
        json: Print what is known of each figure as one JSON array.
        log: How to tell of the work on stderr: json is an object a line.
    """
    from pipeline import study_commands

    config = with_path(config, path)
    return study_commands.learning_curve(recipe, config, store, goal, as_json=json, log=log)


def match(
    model: Path,
    first: str,
    second: str,
    /,
    *,
    store: Path = STORE,
    json: bool = False,
) -> int:
    """Tell whether two examples are of one kind, even one that the model has never seen.

    Args:
        model: A version's directory; or the name of what was pushed, such as photos.
        first: A file; the text itself where the model reads text.
        second: What it is compared with.
        store: Where a name is looked for.
        json: Print it as one JSON object.
    """
    from pipeline import study_commands

    return study_commands.match(model, first, second, store, as_json=json)


def add_class(
    model: Path,
    name: str,
    files: tuple[Path, ...] = (),
    /,
    *,
    store: Path = STORE,
    sign: str = "",
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Add a class to a model of class means: nothing is trained, and what it knows must stay.

    Args:
        model: The name of what was pushed, such as photos, or a version's directory.
        name: Of the class.
        files: Its examples, two or more; a quarter of them are held out to judge it.
        store: Where the model was made.
        sign: A private key, PEM, to sign it with: needed where the model is signed.
        json: Print what became of it as one JSON object.
        log: How to tell of the work on stderr: json is an object a line.
    """
    from pipeline import study_commands

    return study_commands.change_class(
        model, name, files, store, removes=False, sign=sign, as_json=json, log=log
    )


def remove_class(
    model: Path,
    name: str,
    /,
    *,
    store: Path = STORE,
    sign: str = "",
    json: bool = False,
    log: Literal["text", "json"] = "text",
) -> int:
    """Remove a class from a model of class means.

    Args:
        model: The name of what was pushed, such as photos, or a version's directory.
        name: Of the class.
        store: Where the model was made.
        sign: A private key, PEM, to sign it with: needed where the model is signed.
        json: Print what became of it as one JSON object.
        log: How to tell of the work on stderr: json is an object a line.
    """
    from pipeline import study_commands

    return study_commands.change_class(
        model, name, (), store, removes=True, sign=sign, as_json=json, log=log
    )


STUDIES = (advise, tune, learning_curve)
OF_MODELS = (match, add_class, remove_class)
