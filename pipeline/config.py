"""One frozen tree of what is to be done, beside `Runtime`: where, and how it is run."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import Field

from components.bless import BlessConfig
from components.evaluate import EvaluateConfig
from components.export import ExportConfig, ServeConfig
from components.extract import ExtractConfig, Vectors
from components.fine_tune import FineTuneConfig
from components.ingest import DataConfig
from components.modalities.giants import ModelConfig
from components.modalities.photos.raw import PhotosConfig
from components.modalities.sentences.raw import SentencesConfig
from components.modalities.sounds.form import SoundsConfig
from components.modalities.table import MODALITIES
from components.push import PushConfig
from components.refit import FinalConfig
from components.section import (
    NOT_HASHED,
    SHORT,
    AugmentConfig,
    BeamConfig,
    Columns,
    Section,
    Views,
)
from components.tasks.learning import Learning
from components.tasks.number import NumberConfig
from components.tasks.one_label import OneLabelConfig
from components.tasks.protocol import Column
from components.tasks.several_labels import SeveralLabelsConfig
from components.track import MlflowConfig
from components.train_control import ControlConfig
from components.train_from_scratch import PretrainConfig
from components.training.head_config import HeadConfig
from pipeline.runtime import RuntimeConfig

PresetName = Literal["none", "quick", "good", "best"]
TaskName = Literal["one_label", "several_labels", "number"]


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
    preset: Annotated[PresetName, NOT_HASHED, SHORT] = "none"
    """What it may cost: quick, a head on the frozen giant, one pass; good, as much of the giant as
    helps, at most 57 passes; best, two giants, 4 views, averaged heads, refitted, at most 400 and
    one for each giant. It is before the recipe, and behind flags."""
    task: TaskName = "one_label"
    """What is asked about every example: one_label, several_labels (any number of them) or number;
    where there is more than one question, see `targets`."""
    balance: Literal["given", "uncertainty"] = "given"
    """How several targets' losses are weighed: as `targets.NAME.weight` says, or by learned
    uncertainty (arXiv:1705.07115)."""
    strategy: Literal["given", "auto"] = "given"
    """`auto`: from cheap to dear (class means, linear heads, then ever more blocks fine-tuned), and
    no further than what is better on validation examples, beyond noise; `fine_tune.unfreeze` is
    then found, and `head` is as by default but for what is said of it."""
    data: DataConfig = DataConfig()
    targets: dict[str, TargetConfig] = Field(default_factory=dict)
    """Several questions at once, a section each: see --target."""
    photos: PhotosConfig = PhotosConfig()
    sentences: SentencesConfig = SentencesConfig()
    sounds: SoundsConfig = SoundsConfig()
    one_label: OneLabelConfig = OneLabelConfig()
    several_labels: SeveralLabelsConfig = SeveralLabelsConfig()
    number: NumberConfig = NumberConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    extract: ExtractConfig = ExtractConfig()
    head: HeadConfig = HeadConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    final: FinalConfig = FinalConfig()
    export: ExportConfig = ExportConfig()
    serve: ServeConfig = ServeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    bless: BlessConfig = BlessConfig()
    push: PushConfig = PushConfig()
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
    def control_views(self) -> Views:
        """Those of the control: no fewer than who is trained from scratch wants."""
        wanted = self.control.views or MODALITIES[self.data.modality].scratch_views
        given = self.views
        return given if given.views != 1 else given.model_copy(update={"views": wanted})

    @property
    def unfreeze(self) -> int | str:
        """What is to be unfrozen at once."""
        tuned = self.strategy == "given" and self.fine_tune.epochs
        return self.fine_tune.unfreeze if tuned else 0

    @property
    def refits(self) -> bool:
        """Whether there is anything to be trained on the examples to validate with as well."""
        tunes = self.unfreeze != 0 or (self.strategy == "auto" and self.fine_tune.epochs > 0)
        return self.final.refit and (tunes or not self.fits_all)

    @property
    def fits_all(self) -> bool:
        """Whether the head is fitted to the examples to validate with as well, unless it must not
        be."""
        return self.vectors == "taps" or self.head.kind == "prototype"

    @property
    def way(self) -> HeadConfig:
        """The head, where it is decided which kind it is to be."""
        auto = self.strategy == "auto" and self.vectors == "taps" and self.head.kind == "linear"
        return self.head.model_copy(update={"kind": "auto"}) if auto else self.head

    @property
    def vectors(self) -> Vectors:
        """What the head reads of the frozen network; taps are stored, or not read at all."""
        if self.head.features == "auto":
            usual = HeadConfig(kind="auto") if self.head.kind == "auto" else HeadConfig()
            other = self.head.model_copy(update={"soup": 0}) != usual
            other |= self.augment.views == "fresh"
            return "last" if other else "taps"
        return "taps" if self.head.features == "taps" else "last"

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
    def pretrain_columns(self) -> tuple[Column, ...]:
        """Where the one label of a source task is."""
        return (Column(columns=self.pretrain.data.columns or ("label",)),)

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
