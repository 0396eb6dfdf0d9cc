"""The pictures of the README: `python docs/pictures.py STORE`, of the newest run of a store.

Of the handwritten digits, so that everybody may see them: `run digits --store STORE` makes it.
Needs Chromium.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline import local
from pipeline.records import past_runs
from pipeline.store import Store

DOCS = Path(__file__).parent
REPORT = ViewportSize(width=1000, height=1330)
PAGE = ViewportSize(width=1280, height=960)
COLOURS = 64
QUALITY = 82


@contextmanager
def studio(store: Store) -> Iterator[str]:
    """Its address, with the token."""
    server, url = local.apart(store.root, 0, print)
    try:
        yield url
    finally:
        local.end(server)


def save(shot: bytes, name: str) -> None:
    """As small as it can be read: few colours for the report, WebP for pages."""
    picture, path = Image.open(BytesIO(shot)).convert("RGB"), DOCS / name
    if path.suffix == ".png":
        picture.quantize(COLOURS).save(path, optimize=True)
    else:
        picture.save(path, quality=QUALITY, method=6)
    print(f"{name}: {path.stat().st_size / 1000:.0f} KB")


def top(page: Any, heading: str) -> None:
    """Scroll to what is below a heading."""
    page.get_by_role("heading", name=heading, exact=True).first.evaluate(
        "found => scrollTo(0, found.getBoundingClientRect().top + scrollY - 84)"
    )
    page.wait_for_timeout(400)


def of_run(page: Any, base: str) -> None:
    """The curves, with the line where patience ends."""
    page.goto(base)
    page.locator(".charts canvas").first.wait_for()
    top(page, "Training")
    save(page.screenshot(), "studio-run.webp")


def of_lab(page: Any, base: str) -> None:
    """Another head, beside the run."""
    page.goto(f"{base}/lab")
    page.get_by_text("Answered in").wait_for()
    for block in (".block:has-text('block3')", ".block.head"):
        page.locator(block).click()
        page.wait_for_timeout(1000)
        compute = page.get_by_role("button", name="Compute it")
        compute.or_(page.get_by_text("Beside the run")).first.wait_for(timeout=60_000)
        if compute.count():
            compute.click()
        page.get_by_text("Beside the run").wait_for(timeout=120_000)
        page.wait_for_timeout(600)
    page.get_by_label("Show the curve of trained from block3 on").check()
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(400)
    save(page.screenshot(), "studio-lab.webp")


def of_data(page: Any, base: str) -> bytes:
    """The examples; one of them."""
    page.goto(f"{base}/data")
    page.locator("figure.example img").first.wait_for()
    page.wait_for_timeout(800)
    save(page.screenshot(), "studio-data.webp")
    page.get_by_label("Split").select_option("test")
    found = page.locator("figure.example img").nth(3)
    found.wait_for()
    page.wait_for_timeout(400)
    content: bytes = page.request.get(
        page.url.split("/runs")[0] + found.get_attribute("src")
    ).body()
    return content


def of_asking(page: Any, base: str, example: bytes) -> None:
    """What a version says, and why."""
    page.goto(base)
    given = {"name": "digit.png", "mimeType": "image/png", "buffer": example}
    page.locator("input[type=file]").set_input_files(given)
    page.get_by_role("button", name="Why?").click(timeout=20_000)
    page.locator(".near figure img").last.wait_for(timeout=20_000)
    top(page, "Ask it")
    save(page.screenshot(), "studio-ask.webp")


def main(root: Path) -> None:
    """Take all of them."""
    store = Store(root)
    run = past_runs(store.runs)[-1]
    assert run.report, "the run has no report"
    with sync_playwright() as started, studio(store) as url:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=REPORT)
        page.goto(Path(run.report).resolve().as_uri())
        save(page.screenshot(), "report.png")
        page = browser.new_page(viewport=PAGE)
        page.goto(url)
        base = url.partition("/?")[0]
        of_run(page, f"{base}/runs/{run.run_id}")
        of_lab(page, f"{base}/runs/{run.run_id}")
        example = of_data(page, f"{base}/runs/{run.run_id}")
        of_asking(page, f"{base}/models/{run.recipe}", example)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
