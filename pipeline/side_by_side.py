"""Past runs side by side on one page: figures, what flipped, what was asked, curves, seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.files import read_json
from components.pages import charts
from components.pages.templates import environment
from pipeline.comparing import Compared
from pipeline.records import RunRecord
from pipeline.store import Store

# So many figures of a phase have a chart.
_CURVES = 2
# Of so many runs the curves can be told apart.
_RUNS = 4
_TRAINED = {"train_head": "The head", "fine_tune": "Fine-tuning"}


def page(store: Store, found: Sequence[Compared]) -> str:
    """HTML that needs nothing but itself.

    Args:
        found: each run beside the first, which is the same in all.
    """
    records = [found[0].first, *(each.second for each in found)]
    template = environment(Path(charts.__file__).parent).get_template("compare.html.jinja")
    return template.render(
        runs=[record.run_id for record in records],
        pairs=[_pair(each) for each in found],
        charts=list(_charts(store, records)),
        seconds=list(_seconds(records)),
    )


def _pair(found: Compared) -> dict[str, Any]:
    rows = []
    for each in found.figures:
        figure = found.kinds[each.name]
        digits = ".3f" if figure.unit == "share" else ".4g"
        row = {n: f"{getattr(each, n):{digits}}" for n in ("value", "other")}
        row |= {n: f"{getattr(each, n):+{digits}}" for n in ("change", "low", "high")}
        rows.append(row | {"name": each.name.replace("_", " "), "verdict": each.verdict(figure)})
    return {
        "second": found.second.run_id,
        "shared": found.shared,
        "only_first": found.only_first,
        "only_second": found.only_second,
        "figures": rows,
        "gained": sorted(found.gained),
        "lost": sorted(found.lost),
        "asked": found.asked,
    }


def _charts(store: Store, records: Sequence[RunRecord]) -> Iterator[tuple[str, list[str]]]:
    """The curves of each phase that any of them trained, over each other."""
    for stage, title in _TRAINED.items():
        histories = {}
        for record in records:
            refs = {row["name"]: row["artifact"] for row in record.stages}
            path = store.root / refs.get(stage, "") / "history.json"
            if stage in refs and path.is_file():
                histories[record.run_id] = read_json(path)
        histories = {run: each for run, each in histories.items() if each["epochs"]}
        histories = dict(list(histories.items())[:_RUNS])
        if not histories:
            continue
        epochs = next(iter(histories.values()))["epochs"]
        names = [f"val_{name}" for name in charts.figures_of_history(epochs)[:_CURVES]]
        longest = max(len(history["epochs"]) for history in histories.values())
        first = next(iter(histories.values()))["best_epoch"]
        yield (
            title,
            [
                charts.line_chart(
                    {
                        run.rpartition("-")[2]: [
                            row.get(name, float("nan")) for row in history["epochs"]
                        ]
                        for run, history in histories.items()
                    },
                    [charts.Stretch("", 0, longest - 1, first)],
                    x="epoch",
                    y=name.replace("_", " "),
                )
                for name in names
            ],
        )


def _seconds(records: Sequence[RunRecord]) -> Iterator[tuple[str, list[str]]]:
    names = list(dict.fromkeys(row["name"] for record in records for row in record.stages))
    for name in names:
        cells = []
        for record in records:
            row = next((row for row in record.stages if row["name"] == name), None)
            if row is None:
                cells.append("–")
            else:
                ran = row["status"] == "ran"
                cells.append(f"{row['seconds']:.1f}" if ran else f"({row['status']})")
        yield name, cells
    yield "in all", [f"{record.seconds:.1f}" for record in records]
