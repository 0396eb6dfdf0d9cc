"""What a task is: what an answer is, and how it is learned, served and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.section import Section

if TYPE_CHECKING:
    from models.objectives import PerExample, Watched
    from models.slopes import Slope

# What an example's answer is, as JSON has it; None where it is missing.
Answer = Any
# What a model said of one example and target, as JSON has it.
Said = dict[str, Any]
Kind = Literal["text", "texts", "number", "numbers"]
# What is answered instead of a label, where it is not known.
UNKNOWN = "unknown"


class Space(BaseModel):
    """What answers there can be.

    Attributes:
        labels: of tasks with labels: all of them, sorted.
        thresholds: the probability from which on each label is given, where it is not the greatest
            one that is.
        temperatures: what logits are divided by, so that probabilities are as often right as they
            say: one, or one for each label; none where it was not looked for.
        mean: of tasks with numbers: the mean of the training answers …
        deviation: … and their standard deviation, both in the answers' own unit, …
        error: … and that of what a model is off by; 0 where it is not known.
        coverage: the share of examples whose prediction set or interval is to hold the truth; 0
            where there are none.
        reach: how far it reaches: how much less than 1 a label's probability may be, or how far
            from what is said, in the answers' own unit.
    """

    model_config = ConfigDict(frozen=True)

    labels: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    error: float = 0.0
    coverage: float = 0.0
    reach: float = 0.0


class Target(BaseModel):
    """Something that is asked about every example: a name, a task, and its answers' space.

    Attributes:
        name: of one among several; empty where there is one alone, without a name.
        task: a key of `tasks.table.TASKS`.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    task: str
    space: Space = Space()

    def named(self, name: str) -> str:
        """The name of something of this target, such as a figure or an output."""
        return f"{self.name}/{name}" if self.name else name

    @property
    def title(self) -> str:
        return self.name or "the label"


class Column(BaseModel):
    """Where the answers to a target stand.

    Attributes:
        name: of the target.
        task: of the target.
        columns: of a table, or features of a TFDS dataset. More than one where each is 0 or 1.
        separator: between the labels in a cell; empty for none.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    task: str = "one_label"
    columns: tuple[str, ...] = ("label",)
    separator: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of merit, named once: all that tells of figures reads it from here.

    Attributes:
        unit: `share`, of 0 to 1; `answer`, in the answers' own unit; `none`.
        words: a main figure as a sentence for anybody, with `{}` where the value is.
    """

    name: str
    meaning: str
    more_is_better: bool = True
    unit: Literal["share", "answer", "none"] = "share"
    words: str = ""

    def counted(self, value: float) -> str:
        """The value in `words`."""
        if self.unit != "share":
            return f"{value:.3g}"
        nearly = 0.0 < value < 0.01 or 0.99 < value < 1.0
        return f"{100 * value:.{1 if nearly else 0}f} of 100"

    def between(self, low: float, high: float) -> str:
        """The same of an interval."""
        return f"{self.counted(low).removesuffix(' of 100')} to {self.counted(high)}"

    def text(self, value: float) -> str:
        """The value as a person reads it."""
        return f"{100 * value:.1f} %" if self.unit == "share" else f"{value:.4g}"

    def gain(self, change: float, before: float) -> float:
        """A change, so that more is better; where it is no share, relative to what was before."""
        better = change if self.more_is_better else -change
        return better if self.unit == "share" else better / max(abs(before), 1e-9)

    def plainly(self, value: float) -> str:
        """As in a sentence that has thresholds in it."""
        return f"{value:.3f}" if self.unit == "share" else f"{value:.4g}"


@dataclass(frozen=True)
class Tally:
    """Examples that were judged: all figures come from how often each of them counts.

    Attributes:
        count: how many there are.
        figures: (draws, examples) of how often each counts → each of the task's figures, (draws,).
        shares: each figure that is a share of examples → (examples,), which are in it.
        least_shares: each figure that is the least over strata of such a share → the same.
        strata: (examples,), numbers of groups that are to keep their size where examples are drawn;
            all 0 where there are none.
        width: how many numbers an example comes to.
    """

    count: int
    figures: Callable[[np.ndarray], dict[str, np.ndarray]]
    shares: dict[str, np.ndarray]
    least_shares: dict[str, np.ndarray]
    strata: np.ndarray
    width: int = 1

    def once(self) -> dict[str, float]:
        """Each figure where each example counts once."""
        found = self.figures(np.ones((1, self.count)))
        return {name: float(values[0]) for name, values in found.items()}


@dataclass(frozen=True)
class Scores:
    """How a model did on some examples.

    Attributes:
        tally: of the task's figures.
        trivial: the main figure of a model that always gives the same answer.
        trivially: what that answer is, in words.
        details: for the report's part of the task.
    """

    tally: Tally
    trivial: float
    trivially: str
    details: dict[str, Any]

    @property
    def figures(self) -> dict[str, float]:
        """Each of the task's figures → its value."""
        return self.tally.once()


@dataclass(frozen=True)
class Doubt:
    """An answer that is likely wrong.

    Attributes:
        position: of the example.
        suggested: the answer that it may be instead.
        doubt: how likely; to sort by.
    """

    position: int
    suggested: Answer
    doubt: float


@dataclass(frozen=True)
class Twins:
    """Two labels that could not be told apart.

    Attributes:
        auroc: of telling one from the other: 0.5 is guessing; it is from `low` to `high`.
        count: how many examples have either.
    """

    one: str
    other: str
    auroc: float
    low: float
    high: float
    count: int


class Task(Protocol):
    """What the stages need to know about a task; a module each.

    Attributes:
        figures: the first is the main one.
        monitors: the names of what is followed in training.
        config: the section of the config that is the task's own.
        activation: what makes outputs of a dense layer's numbers.
        many: an example may have several answers at once, or none.
        required: a table where a row has no answer is a mistake, where nothing else is asked.
        template: the part of the report that is the task's own.
    """

    figures: tuple[Figure, ...]
    monitors: tuple[str, ...]
    config: type[Section]
    activation: Literal["softmax", "sigmoid", "linear"]
    many: bool
    required: bool
    template: str

    # Examples.

    def parse(self, value: Any, column: Column) -> Answer:
        """A cell (a string; of JSON also a list or a number), or {column: cell}, as an answer.

        None where it is empty and that means nothing; a ValueError says why it is no answer.
        """

    def check_column(self, answers: Sequence[Answer], where: str) -> None:
        """A `Mistake` where these answers of all rows cannot be meant for this task."""

    def space(self, answers: Sequence[Answer], known: Space) -> Space:
        """What answers there can be, by those of the training examples; `known` before."""

    def accepts(self, answer: Answer, space: Space) -> bool:
        """Whether an example with this answer is to be used at all."""

    def strata(self, answers: Sequence[Answer]) -> list[tuple[str, ...]]:
        """What splits keep in proportion, for each answer."""

    def keys(self, answer: Answer) -> list[Any]:
        """What is counted of an answer."""

    def check(
        self, target: Target, counts: Mapping[str, Counter[Any]], before: Space | None
    ) -> list[str]:
        """Warnings about answers of which each split has so many; a `Mistake` where they won't do.

        Args:
            before: the last blessed model's space, where it must not differ.
        """

    def summary(self, space: Space, counts: Mapping[str, Counter[Any]]) -> dict[str, Any]:
        """What the report says of the answers: split → figures."""

    def feature(self, space: Space) -> Any:
        """The TFDS feature that stores an answer, …"""

    def stored(self, answer: Answer) -> Any:
        """… an answer as it is stored, …"""

    def of_tfds(self, feature: Any, value: Any) -> Answer:
        """… and read back, of our own dataset or of somebody else's; None for none."""

    def labels_of_tfds(self, feature: Any) -> tuple[str, ...]:
        """The labels that a feature of another dataset names; ValueError if it will not do."""

    # Training.

    def units(self, space: Space) -> int:
        """How many outputs there are."""

    def targets(self, answers: Sequence[Answer], space: Space) -> np.ndarray:
        """(examples, units) of what the outputs should be; of missing answers, anything."""

    def watched(self, space: Space) -> tuple[Watched, ...]:
        """What is followed in training, in the order of `monitors`."""

    def judged(self, own: Any) -> Section:
        """The section by whose loss models are compared: without what only helps to learn."""

    def loss(self, own: Any, targets: np.ndarray) -> PerExample:
        """What is minimized, by the task's section and the targets of the training examples."""

    def slope(self, own: Any, targets: np.ndarray) -> Slope:
        """The same loss, of arrays, with its slope."""

    def weights(self, own: Any, targets: np.ndarray) -> np.ndarray:
        """(examples,), how much each training example counts."""

    def carried(self, before: Space, now: Space) -> tuple[float, float]:
        """(scale, shift) of outputs for the space `before`, so that they are ones for `now`."""

    # Serving.

    def settle(
        self, space: Space, answers: Sequence[Answer], outputs: np.ndarray, coverage: float = 0.0
    ) -> Space:
        """The space with what is decided on examples that the model was not fitted to.

        Temperatures, thresholds, how far off it is, how far prediction sets reach.

        Args:
            outputs: (examples, units), what the model gives for them.
            coverage: what prediction sets are to promise; 0 for none.
        """

    def answer(self, outputs: Any, valid: Any, space: Space) -> dict[str, Any]:
        """For a graph: (batch, units) and (batch,) whether it is usable → the served outputs."""

    def abstain(self, served: dict[str, Any], unknown: Any) -> dict[str, Any]:
        """The served outputs of a graph where nothing is answered to what is (batch,) `unknown`."""

    def calibrated(self, outputs: np.ndarray, space: Space) -> np.ndarray:
        """(examples, units), what the model gives → the same with what was settled."""

    def served(self, outputs: np.ndarray, space: Space) -> dict[str, np.ndarray]:
        """Some of the served outputs of (examples, units), to compare the served ones with."""

    def rows(self, served: Mapping[str, np.ndarray], space: Space) -> list[Said]:
        """The served outputs → what is said of each example."""

    def columns(self, space: Space) -> list[tuple[str, Kind]]:
        """The names and kinds of what `rows` has."""

    def short(self, said: Said, space: Space) -> list[str]:
        """The answer, and how sure the model is, for a person."""

    def evidence(self, served: Mapping[str, np.ndarray]) -> np.ndarray:
        """(examples,), how much each speaks for the answer that the first one gets."""

    # Judging.

    def score(
        self, answers: Sequence[Answer], said: Sequence[Said], model: Space, space: Space
    ) -> Scores:
        """How good it is what a model, which knows the space `model`, said of the examples."""

    def mistakes(
        self, answers: Sequence[Answer], said: Sequence[Said], space: Space
    ) -> list[tuple[int, str, str, str]]:
        """The worst first: (position, the truth, what was said, how sure or how far off)."""

    def doubts(self, answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Doubt]:
        """Answers that are likely wrong, in any order.

        Args:
            outputs: (examples, units) of models that have not seen them.
        """

    def twins(self, answers: Sequence[Answer], outputs: np.ndarray, space: Space) -> list[Twins]:
        """Labels that are surely hardly better told apart than by guessing.

        Args:
            outputs: (examples, units) of models that have not seen them.
        """

    def card(self, space: Space) -> str:
        """What the model says, for its card."""

    def files(self, space: Space) -> dict[str, str]:
        """Files that travel with the model: name → content."""
