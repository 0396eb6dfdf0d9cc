"""What the page shows of training: curves of all phases in one, what was waited for, what moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.artifacts import SoFar, TrainedModel
from components.files import read_json
from components.pages import charts, figures
from components.pages.charts import Stretch

# So many figures have a curve, the loss among them.
_CURVES = 3


def sections(so_far: SoFar) -> list[dict[str, Any]]:
    """The head and fine-tuning in one, and the control; those in which there were epochs."""
    control = figures.trained(so_far.rivals.control)
    ours = {"the head": so_far.head, "fine-tuning": so_far.tuned}
    found = [_section(ours, "Training")]
    if control:
        found.append(_section({"": control}, f"The control: {control.title}, from scratch"))
    return [section for section in found if section]


def _section(models: Mapping[str, TrainedModel], title: str) -> dict[str, Any] | None:
    """The phases of `models` one after the other; None where none has epochs."""
    phases = {}
    for name, model in models.items():
        path = model.directory / "history.json"
        if path.exists() and (history := read_json(path))["epochs"]:
            phases[name] = (model, history)
    if not phases:
        return None
    stretches: list[Stretch] = []
    epochs: list[dict[str, float]] = []
    for name, (_, history) in phases.items():
        stretches.append(stretch(name if len(phases) > 1 else "", history, len(epochs)))
        epochs += history["epochs"]
    shown = [
        charts.line_chart(
            {
                "training": [row.get(figure, float("nan")) for row in epochs],
                "validation": [row.get(f"val_{figure}", float("nan")) for row in epochs],
            },
            stretches,
            x="epoch",
            y=figure.replace("_", " "),
        )
        for figure in charts.figures_of_history(epochs)[:_CURVES]
    ]
    notes = [
        {"name": name[:1].upper() + name[1:], "said": _told(model, history, stretch)}
        for (name, (model, history)), stretch in zip(phases.items(), stretches, strict=True)
    ]
    return {"name": title, "charts": shown, "notes": notes}


def stretch(name: str, history: dict[str, Any], start: int) -> Stretch:
    """A phase that begins at epoch `start`, from 0; what it waited for, if that ended it."""
    count, best = len(history["epochs"]), history["best_epoch"]
    asked = history["stopping"]["epochs"]
    waited = count < asked and count - 1 - best >= history["stopping"]["patience"]
    return Stretch(name, start, start + count - 1, start + best, waited)


def _told(model: TrainedModel, history: dict[str, Any], stretch: Stretch) -> list[str]:
    """Sentences: what is kept, why it ended there, and what moved."""
    stopping = history["stopping"]
    monitor = str(stopping["monitor"]).replace("val_", "validation ").replace("_", " ")
    if stretch.waited:
        ended = (
            f"Early stopping looks at {monitor}: epoch {stretch.chosen + 1} was the best, none of "
            f"the {stretch.end - stretch.chosen} after it was better, so it ended after "
            f"{stretch.end - stretch.start + 1} epochs of at most {stopping['epochs']}"
        )
    else:
        count, most = stretch.end - stretch.start + 1, stopping["epochs"]
        ended = (
            f"It went on for {'all of' if count == most else f'{count} of at most'} {most} epochs"
        )
    found = [f"Kept: {model.kept}", ended]
    if model.cut_short:
        found[1] = f"Trained for less than was asked: {model.cut_short}"
    return [*found, _audit(read_json(model.directory / "audit.json"))]


def _audit(audit: dict[str, Any]) -> str:
    """What moved in a phase and what did not, as a sentence."""
    moved, frozen = audit["moved"], audit["frozen"]
    most = f", the most by {max(moved.values()):.2g}" if moved else ""
    return f"{len(moved)} weights moved{most}; {len(frozen)} frozen ones are bit-identical"
