"""What people look at: charts, the report, on a phone, too."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from components.pages import charts
from components.pages.charts import Stretch


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.37, [0, 0.5, 1, 1.5]),
        (0.71, 0.98, [0.7, 0.8, 0.9, 1.0]),
        (0.0, 24, [0, 10, 20, 30]),
        (5.0, 5.0, None),
    ],
)
def test_ticks_are_round_and_span_all(
    low: float, high: float, expected: list[float] | None
) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert len(found) == len(set(found)) >= 2
    if expected:
        assert found == pytest.approx(expected)


def test_a_chart_says_in_words_what_it_shows() -> None:
    curves = {"training": [1.0, 0.5], "validation": [1.1, float("nan")]}
    chart = charts.line_chart(curves, [Stretch("", 0, 1, 1)], x="epoch", y="loss")
    assert 'aria-label="loss over 2 epochs: training from 1 to 0.5' in chart
    assert "nan" not in re.sub(r'aria-label="[^"]*"', "", chart)
    assert chart.count("stroke-dasharray") >= 3  # Not by colour alone.


def test_phases_stand_one_after_the_other_with_what_early_stopping_waited_for() -> None:
    losses = [1.0, 0.5, 0.6, 0.7, 0.45, 0.4]
    parts = [Stretch("the head", 0, 3, 1, waited=True), Stretch("fine-tuning", 4, 5, 5)]
    chart = charts.line_chart({"validation": losses}, parts, x="epoch", y="loss")
    assert "kept: 2 and 6" in chart
    assert chart.count('class="band"') == 2  # Of the head, and in the legend.
    assert ">fine-tuning<" in chart
    assert ">patience<" in chart


@pytest.mark.parametrize("losses", [[-0.2, -0.5], [0.3, -0.4], [0.5, 0.5 + 1e-16], [1e-14, 0.0]])
def test_losses_may_be_negative_or_nearly_nothing(losses: list[float]) -> None:
    """Those of learned uncertainty are; every point is inside the chart."""
    chart = charts.line_chart({"training": losses}, [Stretch("", 0, 1, 0)], x="epoch", y="loss")
    points = re.search(r'points="([^"]+)"', chart)
    assert points
    heights = [float(point.split(",")[1]) for point in points[1].split()]
    assert all(charts.TOP - 1 <= up <= charts.HEIGHT - charts.BOTTOM + 1 for up in heights)


def test_the_worst_pairs_are_named() -> None:
    labels = ["ant", "bee", "cat", ""]
    counts = [[8, 2, 0, 0], [1, 9, 0, 0], [0, 5, 4, 1], [0, 0, 0, 0]]
    pairs = charts.worst_pairs(labels, counts)
    assert pairs[0] == ("cat", "bee", 5, 0.5)
    assert ("cat", "invalid", 1, 0.1) in pairs
    escaped = charts.heat_map(["a & b", "c"], [[1, 0], [0, 1]])
    assert escaped.count(">a &amp; b<") == 2
    map_ = charts.heat_map(labels[:3], [row[:3] for row in counts[:3]])
    assert "<title>cat taken for bee: 5</title>" in map_


def test_a_report_has_a_head_and_no_colour_alone(pushed: Path) -> None:
    store = pushed.parent.parent.parent
    (page,) = (path.read_text() for path in store.glob("report/*/report.html"))
    for fact in (
        "<dt>recipe</dt><dd>photos</dd>",
        "<dt>run</dt>",
        "<dt>date</dt>",
        "<dt>code</dt>",
    ):
        assert fact in page
    assert "What differs from the defaults" in page
    assert "<code>fine_tune.unfreeze</code>" in page
    assert page.count('scope="col"') > 5
    assert page.count("<caption>") >= 4
    assert "accuracy over" in page  # A curve beside that of the loss.
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    card = next(store.glob("report/*/model_card.md")).read_text()
    for part in ("- Date: ", "## Intended use", "## Limits", "| accuracy |"):
        assert part in card


def dumped(page: Path, directory: Path) -> str:
    """The page as Chromium has it after its scripts have run."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile"]
    flags += ["--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        ["chromium", *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


# Notes what goes wrong, moves the slider, sorts the classes, and tells what the page says then.
_USE = """<script>
addEventListener("load", () => {
  const section = document.querySelector(".moved"), range = section.querySelector("input");
  const figures = () => Object.fromEntries(
    [...section.querySelectorAll("[data-figure]")].map(e => [e.dataset.figure, e.textContent]));
  const before = figures();
  range.focus(); range.value = 100; range.dispatchEvent(new Event("input"));
  const table = document.querySelector("table.sortable");
  const first = () => table.tBodies[0].rows[0].cells[0].textContent;
  const button = table.tHead.querySelector("button");
  button.click(); const down = first(); button.click(); const up = first();
  const told = {hidden: section.hidden, focused: document.activeElement === range, before,
    after: figures(), down, up, errors, requests: performance.getEntriesByType("resource").length};
  document.body.innerHTML = `<pre id="o">${JSON.stringify(told)}</pre>`;
});
</script></body>"""
_NOTE = """<head><script>const errors = [];
addEventListener("error", e => errors.push(String(e.message)), true);
for (const name of ["error", "warn"]) console[name] = (...a) => errors.push(a.join(" "));
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_slider_and_the_tables_move(pushed: Path, tmp_path: Path) -> None:
    """From a file, without an error, and without asking anybody for anything."""
    store = pushed.parent.parent.parent
    page = next(store.glob("report/*/report.html")).read_text()
    page = page.replace("<head>", _NOTE, 1).replace("</body>", _USE, 1)
    (tmp_path / "page.html").write_text(page)
    found = re.search(r'<pre id="o">(.*?)</pre>', dumped(tmp_path / "page.html", tmp_path))
    assert found
    told = json.loads(html.unescape(found[1]))
    assert told["errors"] == []
    assert told["requests"] == 0
    assert not told["hidden"]
    assert told["focused"]
    assert told["before"]["abstained"] == "0"
    assert int(told["after"]["abstained"]) > 0
    assert told["before"]["recall"] != told["after"]["recall"]
    assert (told["down"], told["up"]) == ("cat", "ant")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_on_a_phone_nothing_overflows(pushed: Path, tmp_path: Path) -> None:
    store = pushed.parent.parent.parent
    page = next(store.glob("report/*/report.html")).read_text()
    tell = "parent.postMessage(document.documentElement.scrollWidth, '*')"
    script = f"<script>addEventListener('load', () => {tell})</script></body>"
    (tmp_path / "page.html").write_text(page.replace("</body>", script))
    frame = (
        '<iframe src="page.html" width="390" height="2000"></iframe><pre id="o"></pre><script>'
        "addEventListener('message', e => {document.getElementById('o').textContent = e.data})"
        "</script>"
    )
    (tmp_path / "frame.html").write_text(frame)
    shown = dumped(tmp_path / "frame.html", tmp_path)
    found = re.search(r'<pre id="o">(\d+)</pre>', shown)
    assert found, shown[-500:]
    assert int(found[1]) <= 390
