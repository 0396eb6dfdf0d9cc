"""The studio's pages, as a browser shows them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.events import end_file, line
from tests.conftest import write_classes
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import TOKEN, beginning, epoch, record, tell

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine"),
    # Of its own event loop, when it ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
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


def test_an_empty_store_says_what_to_do(look: Any, tmp_path: Path) -> None:
    page = look()
    page.get_by_text("No run yet").wait_for()
    assert f"run digits --store {tmp_path}" in page.inner_text("pre")
    assert "token" not in page.url


def test_runs_and_a_run(look: Any, tmp_path: Path) -> None:
    """What is in a store is text, whatever it looks like."""
    evil = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
    folder = record(tmp_path, "RUN", recipe=evil)
    ended = {"outcome": "pushed", "blessed": True, "reasons": [f"It is {evil}."]}
    tell(folder, [*beginning(), *(epoch(n, 1 / (n + 1)) for n in range(9))])
    done = {"stage": "train_head", "phase": "train_head", "best_epoch": 8, "by_hand": False}
    tell(folder, [line("info", "phase ended", done), line("info", "message", {"message": evil})])
    tell(folder, [line("info", "run ended", ended)])
    record(tmp_path, "OTHER", recipe="sounds", outcome="failed: the disk is full", pushed=None)
    page = look()
    page.wait_for_selector(".runs .spark path")
    assert page.inner_text(".runs tbody").count("pushed 3") == 1
    page.fill("input[type=search]", "sounds failed")
    assert page.locator(".runs tbody tr").count() == 1
    page.fill("input[type=search]", "")
    page.get_by_text("taken").first.click()
    page.wait_for_selector(".charts canvas")
    assert page.title().endswith("Shoulders studio")
    assert page.inner_text("h1") == evil
    assert f"It is {evil}." in page.inner_text("main")
    assert "The weights of epoch 9 are kept." in page.inner_text(".stop")
    assert page.locator("main img, main script").count() == 0
    page.go_back()
    page.wait_for_selector(".runs tbody tr")


def test_training_as_it_happens_and_how_it_is_ended(look: Any, tmp_path: Path) -> None:
    """Early stopping says what is best, what is left, and where it would end."""
    folder = stores.running(tmp_path)
    tell(folder, [*beginning(patience=3), epoch(0, 0.9)])
    page = look("/runs/RUN")
    said = page.locator(".stop p")
    said.filter(has_text="Best so far: epoch 1").wait_for()
    tell(folder, [epoch(1, 0.5), epoch(2, 0.6), epoch(3, 0.7)])
    said.filter(has_text="Best so far: epoch 2, validation loss 0.6000").wait_for()
    assert "Where the next epoch is not below 0.6000, training ends and epoch 2 is kept" in (
        said.inner_text()
    )
    assert page.locator(".patience .used").count() == 2
    alert = {"stage": "train_head", "kind": "diverges", "message": "it diverges"}
    tell(folder, [line("warning", "alert", alert)])
    page.get_by_text("it diverges").wait_for()
    page.get_by_role("button", name="End training").click()
    page.get_by_text("Training ends with this step").wait_for()
    assert end_file(folder, "train_head").exists()
    record(tmp_path, "RUN")
    tell(folder, [line("info", "run ended", {"outcome": "pushed", "reasons": ["Good."]})])
    page.get_by_text("Good.").wait_for()
    page.locator(".pill", has_text="pushed 3").wait_for()
    assert not page.get_by_role("button", name="End training").count()


def test_a_model_is_asked_and_gone_back_from(look: Any, tmp_path: Path, pushed: Path) -> None:
    """Two versions side by side; the way back asks why."""
    stores.copied(pushed, tmp_path)
    shutil.copytree(pushed, tmp_path / "serving" / "photos" / "2")
    files = write_classes(tmp_path.parent / "asked", 1).rglob("*")
    picture = next(path for path in files if path.is_file())
    page = look("/models")
    page.get_by_role("link", name="photos", exact=True).click()
    page.get_by_label("version 1").check()
    page.set_input_files("input[type=file]", str(picture))
    page.locator(".bars").nth(1).wait_for()
    assert page.locator(".asked").evaluate("image => image.naturalWidth") > 0
    assert page.locator(".answer").count() == 2
    page.get_by_role("button", name="Check").first.click()
    page.get_by_text("says the same of").wait_for()
    page.get_by_role("button", name="Roll back to it").click()
    page.get_by_label("Reason").fill("it was better")
    page.get_by_role("button", name="Publish version 1 again").click()
    page.get_by_text("back to version 1: it was better").wait_for()
    assert (tmp_path / "serving" / "photos" / "3").is_dir()


def test_the_examples_of_a_run(look: Any, tmp_path: Path, pushed: Path) -> None:
    """Only those that are seen are there; each part says what it has."""
    stores.copied(pushed, tmp_path)
    page = look("/", viewport={"width": 900, "height": 620})
    page.locator(".runs .name a").click()
    page.get_by_role("link", name="Data").click()
    page.wait_for_selector(".cell img")
    page.get_by_text("60 examples").wait_for()
    assert page.locator(".cell").count() < 60
    first = page.locator(".cell .mono").first.inner_text()
    page.locator(".grid").evaluate("grid => grid.scrollTo(0, grid.scrollHeight)")
    page.wait_for_function(
        "first => document.querySelector('.cell .mono').textContent !== first", arg=first
    )
    page.get_by_label("Label", exact=True).select_option("bee")
    page.get_by_text("20 examples").wait_for()
    page.get_by_label("Search names").fill("no such name")
    page.get_by_text("No example is like that.").wait_for()
    page.get_by_role("tab", name="Set aside").click()
    page.get_by_text("Nothing was set aside").wait_for()
    page.get_by_role("tab", name="Labels in doubt").click()
    page.locator(".doubts").or_(page.get_by_text("No label is in doubt.")).first.wait_for()


def test_a_run_that_is_not_there(look: Any) -> None:
    page = look("/runs/NOTHING", expected="404")
    page.get_by_text("there is no run 'NOTHING'").wait_for()
    page.get_by_role("link", name="All runs").click()
    page.get_by_text("No run yet").wait_for()


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


@pytest.mark.exhaustive  # Of a machine that does nothing else.
def test_a_store_of_a_thousand_runs_and_ten_thousand_epochs(look: Any, tmp_path: Path) -> None:
    for number in range(1000):
        folder = record(tmp_path, f"RUN{number:04}", started=f"2026-11-28T10:00:{number % 60:02}Z")
    tell(folder, [*beginning(epochs=10_000, patience=0), *(epoch(n, 1.0) for n in range(10_000))])
    page = look()
    page.wait_for_selector(".runs .name")
    times: dict[str, float] = {}
    for _ in range(3):
        started = time.monotonic()
        page.reload()
        page.wait_for_selector(".runs .name")
        times["list"] = min(times.get("list", 9.0), time.monotonic() - started)
        page.fill("input[type=search]", "RUN0999")
        started = time.monotonic()
        page.locator(".runs .name a").first.click()
        page.wait_for_selector(".charts canvas")
        times["run"] = min(times.get("run", 9.0), time.monotonic() - started)
        page.go_back()
        page.wait_for_selector(".runs .name")
    print(times)
    assert times["list"] < 0.3, times
    assert times["run"] < 0.5, times


def test_the_lab_of_a_run(look: Any, tmp_path: Path, pushed: Path) -> None:
    """A head at once, fine-tuning as it happens, what is kept, and a recipe of it."""
    stores.copied(pushed, tmp_path)
    page = look()
    page.click(".runs .name a")
    page.click("a:text-is('Lab')")
    page.wait_for_selector("h2:text-is('As in the run')", timeout=90_000)
    assert page.locator(".block").count() == 5
    assert page.locator(".block.trained").count() == 2
    page.click(".block.head")
    page.click("button:text-is('Compute it')")
    page.wait_for_selector("h2:text-is('Kept')", timeout=90_000)
    assert page.locator(".block.trained").count() == 1
    page.locator(".knob:has-text('Dropout') input").fill("0.5")
    page.wait_for_selector("h2:has-text('head dropout 0.5')", timeout=30_000)
    assert "Beside the run" in page.inner_text(".bench")
    page.click("button:text-is('Keep')")
    page.wait_for_selector("td:has-text('head dropout 0.5')")
    page.click("button:text-is('Fork as run …')")
    command = page.inner_text(".fork pre")
    assert command.startswith("python run_pipeline.py run ")
    recipe = Path(command.split()[3])
    assert "dropout = 0.5" in recipe.read_text()
    page.locator("tr:has-text('dropout') button:text-is('Compare with it')").click()
    page.wait_for_selector(".pill:text-is('compared with')")
    page.click("button:text-is('As in the run')")
    page.wait_for_selector("h2:text-is('As in the run')")
    page.click("button:text-is('Set it up')")
    page.click("button:text-is('Compute it')")
    page.wait_for_selector("h2:text-is('What the giant forgot')", timeout=90_000)
    assert page.locator(".bars [role=meter]").count() > 2
