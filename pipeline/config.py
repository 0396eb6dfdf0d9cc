"""One frozen tree of what is to be done, beside `Runtime`: where, and how it is run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from components.bless import BlessConfig
from components.evaluate import EvaluateConfig
from components.export import ExportConfig
from components.extract import ExtractConfig
from components.fine_tune import FineTuneConfig
from components.ingest import DataConfig
from components.modalities.giants import ModelConfig
from components.modalities.table import MODALITIES
from components.section import AugmentConfig, BeamConfig, Section
from components.track import MlflowConfig
from components.train_from_scratch import ControlConfig, PretrainConfig
from components.train_head import HeadConfig
from models.mistakes import Mistake, nearest
from pipeline.runtime import RuntimeConfig

RECIPES = Path(__file__).parent / "recipes"


class Config(Section):
    """What a run computes: departures from these defaults are a recipe, then flags."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Of everything that is random."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    extract: ExtractConfig = ExtractConfig()
    head: HeadConfig = HeadConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    export: ExportConfig = ExportConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    bless: BlessConfig = BlessConfig()
    control: ControlConfig = ControlConfig()
    pretrain: PretrainConfig = PretrainConfig()
    mlflow: MlflowConfig = MlflowConfig()
    beam: BeamConfig = BeamConfig()
    runtime: RuntimeConfig = RuntimeConfig()


def recipe_path(recipe: str) -> Path:
    """The TOML file that `recipe` names: one of ours, or a path."""
    known = {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}
    if recipe in known:
        return known[recipe]
    if (path := Path(recipe)).is_file():
        return path
    raise Mistake(
        f"RECIPE must be a recipe's name or a TOML file, got {recipe!r}: {nearest(recipe, known)}"
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe's keys as they are written; a `Mistake` names one that is no key of ours."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{path.name} must be TOML, got {error}") from error
    _check_keys(content, Config, path.name, "")
    return content


def validate(content: dict[str, Any]) -> Config:
    """The config that `content` departs to; a `Mistake` tells the first thing wrong with it."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise mistake_of(error) from error


def check_modality(config: Config) -> None:
    """A `Mistake` where what is said of the model or the views is not for such examples.

    Not a validator of `Config`: flags are parsed before it is known which recipe they change.
    """
    modality = config.data.modality
    row = MODALITIES[modality]
    if config.model.weights == "pretrain" and config.pretrain.data.modality != modality:
        raise Mistake(
            f"pretrain.data.modality must be that of the data, {modality}, got "
            f"{config.pretrain.data.modality!r}"
        )
    foreign = {key for other in MODALITIES.values() for key in other.options} - row.options
    for name in sorted(foreign):
        section, key = name.split(".")
        given = getattr(getattr(config, section), key)
        if given != type(getattr(config, section)).model_fields[key].default:
            raise Mistake(f"{name} must be left out for {modality}, got {given!r}")
    if config.model.pooling not in ("auto", *row.poolings):
        raise Mistake(
            f"model.pooling must be auto or one of {', '.join(row.poolings)} for {modality}, got "
            f"{config.model.pooling!r}"
        )
    for name in config.augment.policies:
        if name not in row.policies:
            raise Mistake(
                f"augment.policies must be policies for {modality}, got {name!r}: "
                f"{nearest(name, row.policies)}"
            )


def mistake_of(error: ValidationError) -> Mistake:
    """The first finding of a validation as one line: the field, the rule and the value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if not _is_union_member(part))
    rule = re.sub(r"^Input should be", "must be", first["msg"])
    rule = re.sub(r"^could not parse .* byte string$", "must be a size such as 500MB", rule)
    return Mistake(f"{field} {rule}, got {first['input']!r}")


def _is_union_member(part: int | str) -> bool:
    return part in ("int", "str", "float", "bool", "none")


def _check_keys(content: dict[str, Any], section: type[Section], where: str, prefix: str) -> None:
    fields = section.model_fields
    for key, value in content.items():
        if key not in fields:
            raise Mistake(
                f"{where} must have keys of the config, got {prefix}{key!r}: {nearest(key, fields)}"
            )
        kind = fields[key].annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            if not isinstance(value, dict):
                raise Mistake(f"{where}: {prefix}{key} must be a section, got {value!r}")
            _check_keys(value, kind, where, f"{prefix}{key}.")


def to_toml(config: Section, prefix: str = "") -> str:
    """The config as TOML, every key with its meaning."""
    values, sections = [], []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        meaning = " ".join((field.description or "").split())
        if isinstance(value, Section):
            if value.shown_by_default or value != field.default:
                sections.append((f"{prefix}{name}", value))
        elif value is None:
            values.append(f"# {name} =   # {meaning}")
        else:
            values.append(f"{name} = {_toml(value)}   # {meaning}")
    lines = "\n".join(values)
    parts = [f"[{prefix.rstrip('.')}]\n{lines}" if prefix else lines] if values else []
    return "\n\n".join([*parts, *(to_toml(value, f"{name}.") for name, value in sections)])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
