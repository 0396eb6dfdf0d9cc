"""A browser that looks at the studio's pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import TOKEN

CHROMIUM = shutil.which("chromium")
# A microphone that beeps, and nobody who has to allow it.
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ARGUMENTS = ["--no-sandbox", *FAKE]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Looked:
    """A page that is looked at; what it complained of, and whom it asked."""

    def __init__(self, browser: Any, address: Any, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.expected = ""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, said: Any) -> None:
        if not self.expected or self.expected not in said.text:
            self.wrong.append(f"{said.type}: {said.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((f"http://{self.address.hosts[0]}/", "data:", "blob:")):
            self.wrong.append(f"asked {request.url}")

    def open(self, path: str = "/") -> Any:
        mark = "&" if "?" in path else "?"
        self.page.goto(f"http://{self.address.hosts[0]}{path}{mark}token={TOKEN}")
        return self.page


@pytest.fixture
def look(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that opens a page of a studio over `tmp_path`, and finds nothing wrong."""
    looked: list[Looked] = []
    with stores.studio(tmp_path) as address:

        def start(path: str = "/", expected: str = "", **options: Any) -> Any:
            looked.append(Looked(chromium, address, **options))
            looked[-1].expected = expected
            return looked[-1].open(path)

        yield start
        for each in looked:
            each.context.close()
    assert [wrong for each in looked for wrong in each.wrong] == []
