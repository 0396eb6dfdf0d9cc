"""What a run, a plan and a prediction come to: plain records, and tables of them for notebooks."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.served.predict import Prediction
from models.mistakes import Mistake
from pipeline.estimates import Estimate
from pipeline.records import Step

if TYPE_CHECKING:
    import pandas as pd


_SHOWN = ["status", "seconds", "bytes"]


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        outcome: `pushed`; `unchanged`, where the model that it makes is served already; or
            `not blessed`.
        seconds: that it took.
        steps: the stages, in their order.
        metrics: `test`, and where they were evaluated `blessed`, `control` and `shortcut` → their
            figures.
        reasons: of the verdict, those against the model first.
        version: that is served; None where the model was not blessed.
        pushed: its directory.
        report: the page.
        proposals: what to try next, at most five: `what`, `why`, `flags`, `gain`, `source`.
    """

    run_id: str
    recipe: str
    outcome: str
    seconds: float
    steps: tuple[Step, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    blessed: bool
    reasons: tuple[str, ...]
    version: int | None
    pushed: Path | None
    report: Path
    proposals: tuple[Mapping[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "steps"}
        stages = [{k: v for k, v in asdict(step).items() if k != "why"} for step in self.steps]
        return told | {"stages": stages}

    @property
    def summary(self) -> dict[str, Any]:
        """What is told when the run ends: `as_json` without what was told of each stage."""
        told = self.as_json()
        return {k: v for k, v in told.items() if k not in ("outcome", "stages", "proposals")}

    @property
    def stages(self) -> pd.DataFrame:
        """A row a stage: status, seconds, bytes."""
        return _frame([{"stage": s.name} | s.row for s in self.steps], index="stage")[_SHOWN]

    @property
    def figures(self) -> pd.DataFrame:
        """A row a figure; a column for the model, and for those that it is compared with."""
        columns = {
            {"test": "model"}.get(name, name): {
                figure: value for figure, value in stats.items() if isinstance(value, float)
            }
            for name, stats in self.metrics.items()
        }
        names = list(columns["model"])
        rows = [{"figure": f, **{c: own.get(f) for c, own in columns.items()}} for f in names]
        return _frame(rows, index="figure")

    @property
    def verdict(self) -> str:
        """In a line."""
        if self.outcome == "unchanged":
            return f"unchanged, version {self.version} is still served"
        return "BLESSED" if self.blessed else "NOT BLESSED"

    def _repr_html_(self) -> str:
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in self.reasons)
        where = html.escape(str(self.pushed or "nothing was pushed"))
        figures = self.figures._repr_html_() if _has_pandas() else ""
        return (
            f"<p><b>{html.escape(self.recipe)}: {self.verdict}</b> after {self.seconds:.1f} s, "
            f"<code>{where}</code></p><ul>{reasons}</ul>{figures}"
        )


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        known: a stage → what it took when it last ran here.
    """

    recipe: str
    steps: tuple[Step, ...]
    known: Mapping[str, Estimate]

    @property
    def written(self) -> int:
        """So many bytes what would run wrote the last time, as far as that is known.

        But for activations, of which those that are there already are not written again: extract
        looks for room for the others.
        """
        left = (step.name for step in self.steps if step.status == "would run")
        return sum(self.known[name].written for name in left if name in self.known)

    @property
    def stages(self) -> pd.DataFrame:
        """A row a stage: what would become of it, why, and what it took the last time."""
        rows = [
            {
                "stage": step.name,
                "status": step.status,
                "why": step.why,
                "seconds": before.seconds if before else None,
                "bytes": before.bytes if before else None,
            }
            for step in self.steps
            for before in [self.known.get(step.name)]
        ]
        return _frame(rows, index="stage")

    def _repr_html_(self) -> str | None:
        return self.stages._repr_html_() if _has_pandas() else None


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """What a model says of some examples, in the order given."""

    rows: tuple[Prediction, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def frame(self) -> pd.DataFrame:
        """A row an example: input, valid, and what is said."""
        return _frame([row.as_json() for row in self.rows])

    def _repr_html_(self) -> str | None:
        return self.frame._repr_html_() if _has_pandas() else None


def _has_pandas() -> bool:
    return find_spec("pandas") is not None


def _frame(rows: list[dict[str, Any]], index: str = "") -> pd.DataFrame:
    if not _has_pandas():
        raise Mistake("a data frame must have pandas installed: pip install '.[notebook]'")
    import pandas as pd

    frame = pd.DataFrame(rows)
    return frame.set_index(index) if index else frame
