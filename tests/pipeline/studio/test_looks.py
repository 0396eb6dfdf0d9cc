"""How the studio's pages look and feel: widths, colours and the keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.studio.stores import beginning, epoch, record, tell

# Of the browser's event loop, when it ends.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.mark.parametrize("width", [390, 1440, 2560])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_and_both_schemes(look: Any, tmp_path: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the page, whose text can be told from what it is on."""
    folder = record(tmp_path, "RUN")
    tell(folder, [*beginning(), *(epoch(n, 1 / (n + 1)) for n in range(9))])
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page = look("/", **options)
    page.wait_for_selector(".runs .name")
    for _ in range(2):
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        style = "getComputedStyle(document.body)"
        ink, ground = page.evaluate(f"[{style}.color, {style}.backgroundColor]")
        assert _contrast(ink, ground) > 7
        page.click(".runs .name a") if page.locator(".runs .name a").count() else None
        page.wait_for_selector(".charts canvas")


def _contrast(*colours: str) -> float:
    """WCAG's, of two colours as browsers tell them."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(light, colours))
    return (high + 0.05) / (low + 0.05)


def test_the_keyboard_gets_everywhere(look: Any, tmp_path: Path) -> None:
    """And what has the focus can be seen."""
    record(tmp_path, "RUN")
    page = look()
    page.wait_for_selector(".runs .name a")
    seen = []
    for _ in range(7):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert seen[0] == "Skip to the page"
    assert "photos" in seen
    page.locator(".runs .name a").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".facts")
