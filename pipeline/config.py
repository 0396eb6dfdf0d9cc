"""One frozen tree of what is to be done, beside `Runtime`: where, and how it is run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, cast

import tomlkit
from pydantic import Field, ValidationError

from components import bless as blessing
from components.bless import BlessConfig
from components.evaluate import EvaluateConfig
from components.export import ExportConfig
from components.extract import ExtractConfig
from components.fine_tune import FineTuneConfig
from components.ingest import DataConfig
from components.modalities.giants import ModelConfig
from components.modalities.photos.raw import PhotosConfig
from components.modalities.sentences.raw import SentencesConfig
from components.modalities.table import MODALITIES
from components.section import AugmentConfig, BeamConfig, Columns, Section, Views
from components.tasks.learning import Learning
from components.tasks.number import NumberConfig
from components.tasks.one_label import OneLabelConfig
from components.tasks.protocol import Column, Target
from components.tasks.several_labels import SeveralLabelsConfig
from components.tasks.table import TASKS
from components.track import MlflowConfig
from components.train_from_scratch import ControlConfig, PretrainConfig
from components.train_head import HeadConfig
from models.mistakes import Mistake, nearest
from pipeline.moved import MOVED
from pipeline.runtime import RuntimeConfig

RECIPES = Path(__file__).parent / "recipes"
TaskName = Literal["one_label", "several_labels", "number"]
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class TargetConfig(Section):
    """One of several things that are asked about every example."""

    task: TaskName = "one_label"
    """What is asked: one_label, several_labels or number."""
    columns: Columns = ()
    """The column with the answers, the target's name where not given; for several labels also one
    column of 0 and 1 for each."""
    separator: str = ""
    """What stands between several labels in one cell."""
    weight: float = Field(1.0, gt=0)
    """How much its loss counts beside those of the others."""


class Config(Section):
    """What a run computes: departures from these defaults are a recipe, then flags."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Of everything that is random."""
    task: TaskName = "one_label"
    """What is asked about every example: one_label, several_labels (any number of them) or number;
    where there is more than one question, see `targets`."""
    balance: Literal["given", "uncertainty"] = "given"
    """How several targets' losses are weighed: as `targets.NAME.weight` says, or by learned
    uncertainty (arXiv:1705.07115)."""
    data: DataConfig = DataConfig()
    targets: dict[str, TargetConfig] = Field(default_factory=dict)
    """Several questions at once, a section each: see --target."""
    photos: PhotosConfig = PhotosConfig()
    sentences: SentencesConfig = SentencesConfig()
    one_label: OneLabelConfig = OneLabelConfig()
    several_labels: SeveralLabelsConfig = SeveralLabelsConfig()
    number: NumberConfig = NumberConfig()
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

    @property
    def own(self) -> Section:
        """The section that is the modality's own."""
        return cast(Section, getattr(self, MODALITIES[self.data.modality].section))

    @property
    def views(self) -> Views:
        """All that decides augmented views."""
        row = MODALITIES[self.data.modality]
        return Views(
            views=self.augment.views,
            policies=self.augment.policies or row.usual,
            options={name: getattr(self.own, name) for name in row.view_options},
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """Where the answers to each target are."""
        if not self.targets:
            columns = self.data.columns or ("label",)
            return (Column(task=self.task, columns=columns, separator=self.data.separator),)
        return tuple(
            Column(
                name=name,
                task=target.task,
                columns=target.columns or (name,),
                separator=target.separator,
            )
            for name, target in self.targets.items()
        )

    @property
    def learning(self) -> Learning:
        """How the targets are learned."""
        tasks = {column.task for column in self.columns}
        return Learning(
            own={task: getattr(self, task).model_dump() for task in sorted(tasks)},
            weights={name: target.weight for name, target in self.targets.items()},
            by_uncertainty=self.balance == "uncertainty",
        )

    @property
    def one_label_learning(self) -> Learning:
        """How the one label of a source task is learned."""
        return Learning(own={"one_label": self.one_label.model_dump()})


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


def check(config: Config) -> None:
    """A `Mistake` where sections do not go together.

    Not a validator of `Config`: flags are parsed before it is known which recipe they change.
    """
    _check_modality(config)
    _check_targets(config)
    targets = [Target(name=column.name, task=column.task) for column in config.columns]
    blessing.check(config.bless, targets)
    monitors = ["val_loss", *(f"val_{t.named(m)}" for t in targets for m in TASKS[t.task].monitors)]
    for name in ("head", "fine_tune", "control"):
        monitor = getattr(config, name).monitor
        if monitor not in monitors:
            raise Mistake(
                f"{name}.monitor must be what is watched, got {monitor!r}: "
                f"{nearest(monitor, monitors)}"
            )


def _check_modality(config: Config) -> None:
    modality = config.data.modality
    row = MODALITIES[modality]
    if config.model.weights == "pretrain" and config.pretrain.data.modality != modality:
        raise Mistake(
            f"pretrain.data.modality must be that of the data, {modality}, got "
            f"{config.pretrain.data.modality!r}"
        )
    for other in MODALITIES.values():
        section = getattr(config, other.section)
        for key in type(section).model_fields if other is not row else ():
            given = getattr(section, key)
            if given != type(section).model_fields[key].default:
                raise Mistake(
                    f"{other.section}.{key} must be left out for {modality}, got {given!r}"
                )
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


def _check_targets(config: Config) -> None:
    if config.targets and (config.data.columns or config.data.separator):
        raise Mistake(
            "data.columns and data.separator must be left out where there are targets, which have "
            "their own"
        )
    taken = {*MODALITIES, "id", "name", "label", "valid"}
    for name in config.targets:
        if not _NAME.fullmatch(name) or name in taken:
            raise Mistake(
                f"targets must have names of small letters, digits and _, other than "
                f"{', '.join(sorted(taken))}, got {name!r}"
            )
    for column in config.columns:
        field = f"targets.{column.name}" if column.name else "data"
        task = TASKS[column.task]
        if len(column.columns) > 1 and not task.many:
            raise Mistake(
                f"{field}.columns must be one column for {column.task}, got "
                f"{', '.join(column.columns)}"
            )
        if column.separator and (not task.many or len(column.columns) > 1):
            raise Mistake(
                f"{field}.separator must be for several labels in one column, got "
                f"{column.separator!r} for {column.task}"
            )
    if config.data.labels_per_class and [c.task for c in config.columns] != ["one_label"]:
        raise Mistake(
            f"data.labels_per_class must be left out where more than one label is asked for, got "
            f"{config.data.labels_per_class}"
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
        if new := MOVED.get(f"{prefix}{key}"):
            raise Mistake(f"{where}: {prefix}{key} is now {new}")
        if key not in fields:
            raise Mistake(
                f"{where} must have keys of the config, got {prefix}{key!r}: {nearest(key, fields)}"
            )
        kind = fields[key].annotation
        sections = {}
        if isinstance(kind, type) and issubclass(kind, Section):
            sections = {key: (kind, value)}
        elif kind == dict[str, TargetConfig]:
            if not isinstance(value, dict):
                raise Mistake(f"{where}: {prefix}{key} must be sections, got {value!r}")
            sections = {f"{key}.{name}": (TargetConfig, each) for name, each in value.items()}
        for name, (inner, given) in sections.items():
            if not isinstance(given, dict):
                raise Mistake(f"{where}: {prefix}{name} must be a section, got {given!r}")
            _check_keys(given, inner, where, f"{prefix}{name}.")


def to_toml(config: Section) -> str:
    """The config as TOML, every key with its meaning."""
    document = tomlkit.document()
    _fill(document, config)
    return tomlkit.dumps(document).strip()


def _fill(table: Any, config: Section) -> None:
    sections: dict[str, Section] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        meaning = " ".join((field.description or "").split())
        if isinstance(value, Section):
            if value.shown_by_default or value != field.default:
                sections[name] = value
        elif isinstance(value, dict):
            if value:
                inner = tomlkit.table(is_super_table=True)
                for key, each in value.items():
                    inner[key] = tomlkit.table()
                    _fill(inner[key], each)
                table[name] = inner
        elif value is None:
            table.add(tomlkit.comment(f"{name} =   # {meaning}"))
        else:
            item = tomlkit.item(list(value) if isinstance(value, tuple) else value)
            table.add(name, item.comment(meaning) if meaning else item)
    for name, value in sections.items():
        inner = tomlkit.table()
        _fill(inner, value)
        table[name] = inner
