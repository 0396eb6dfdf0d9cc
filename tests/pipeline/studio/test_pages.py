"""The studio's pages, as a browser shows them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.events import end_file, line
from tests.conftest import write_classes
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import beginning, epoch, record, tell

# Of the browser's event loop, when it ends.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


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
    button = page.get_by_role("button", name="End training").element_handle()
    tell(folder, [epoch(1, 0.5), epoch(2, 0.6), epoch(3, 0.7)])
    said.filter(has_text="Best so far: epoch 2, validation loss 0.6000").wait_for()
    assert "Where the next epoch is not below 0.6000, training ends and epoch 2 is kept" in (
        said.inner_text()
    )
    assert page.locator(".patience .used").count() == 2
    # Who is about to press it presses it.
    assert button.evaluate("button => button.isConnected")
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
