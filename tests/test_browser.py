"""Open JupyterLab, run lessons, move their controls, and see the picture change."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
TOKEN = "a-token-for-this-test"
QUICK = ("02_positions", "03_transformer", "04_text_to_batches")
QUICK += ("05_masked_pretraining", "07_sentiment", "08_scaling")
# Lesson 03 has lists to choose from.
SLIDERS = ("01_attention", "02_positions", "04_text_to_batches", "08_scaling")
TYPED = {  # what is typed into a lesson's field
    "05_masked_pretraining": "One warm night Fay ___ a bossy robot.",
    "07_sentiment": "It let me down on the very first day.",
}
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a copy of the lessons; give the address."""
    root = tmp_path_factory.mktemp("a learner")
    shutil.copytree(NOTEBOOKS, root / "notebooks")
    for name in QUICK:  # these train for a minute; the controls are the same
        path = root / "notebooks" / f"{name}.ipynb"
        text = path.read_text("utf-8")
        quick = text.replace('profile = \\"cpu\\"', 'profile = \\"smoke\\"', 1)
        assert quick != text
        path.write_text(quick, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ServerApp.port": port,
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.root_dir": str(root),
        "IdentityProvider.token": TOKEN,
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
    }
    flags = [f"--{key}={value}" for key, value in settings.items()]
    home = {"LLMKIT_HOME": str(root / "home"), "JUPYTER_CONFIG_DIR": str(root / "c")}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *flags],
        env=os.environ | home,
        stdout=subprocess.DEVNULL,
        stderr=(root / "log").open("w"),
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api?token={TOKEN}", root / "log")
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def browser(browser_path):
    """Start the Chromium of this machine."""
    from playwright.sync_api import sync_playwright

    quiet = (
        "--disable-gpu --no-first-run --disable-background-networking --disable-sync"
    )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", *quiet.split()]
        )
        yield chromium
        chromium.close()


def _wait_for(address: str, log: Path) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"JupyterLab did not answer:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module", params=["01_attention", *QUICK])
def lesson(lab, browser, request):
    """Open a lesson and choose Run All, as a learner does."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.errors, page.lesson = [], request.param
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.set_default_timeout(120_000)
    # reset: or the tab of the lesson before would be there too
    page.goto(f"{lab}/lab/tree/notebooks/{request.param}.ipynb?reset&token={TOKEN}")
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.sessionContext.ready;
            await window.jupyterapp.commands.execute('notebook:run-all-cells');
            const {content} = panel;  // a long notebook draws only what is in sight
            const text = cell => cell.model.sharedModel.source;
            const plays = cell => text(cell).includes('figures.play(');
            content.activeCellIndex = content.widgets.findIndex(plays);
            await content.scrollToItem(content.activeCellIndex, 'center');
        }"""
    )
    yield page
    page.close()


def cells(page) -> list[dict]:
    """Return the notebook's cells as they are in the page now."""
    model = "window.jupyterapp.shell.currentWidget.context.model.toJSON()"
    return json.loads(page.evaluate(f"JSON.stringify({model})"))["cells"]


def test_run_all_reaches_the_end(lesson):
    code = [cell for cell in cells(lesson) if cell["cell_type"] == "code"]
    broken = [
        (i, output["ename"], output["evalue"])
        for i, cell in enumerate(code)
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]
    assert not broken
    assert all(cell["execution_count"] for cell in code if "".join(cell["source"]))


def expect_change(lesson, picture, before: str) -> None:
    """Wait until a picture is another one; it must still say what it shows."""
    lesson.wait_for_function(
        "before => document.querySelector('.jupyter-widgets img').src !== before",
        arg=before,
        timeout=20_000,
    )
    assert re.search(r"\w", picture.get_attribute("alt"))


@pytest.mark.parametrize("lesson", SLIDERS, indirect=True)
def test_a_dragged_slider_changes_the_picture(lesson):
    handle = lesson.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    picture = lesson.locator(".jupyter-widgets img").first
    before = settled(lesson)
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lesson.mouse.move(x, y)
    lesson.mouse.down()
    lesson.mouse.move(x + 90, y, steps=6)
    lesson.mouse.up()
    expect_change(lesson, picture, before)
    look(lesson)


def settled(lesson) -> str:
    """Wait until the picture stays as it is; return it.

    A control that moves through several values has it drawn several times.
    """
    picture, before = lesson.locator(".jupyter-widgets img").first, ""
    while (now := picture.get_attribute("src")) != before:
        before = now
        lesson.wait_for_timeout(500)
    return now


def look(lesson) -> None:
    """Keep a screenshot, for whoever wants to look at it."""
    settled(lesson)
    lesson.evaluate("document.querySelector('.jupyter-widgets img').scrollIntoView()")
    lesson.screenshot(path=NOTEBOOKS.parent / "build" / f"{lesson.lesson}.png")


@pytest.mark.parametrize("lesson", SLIDERS, indirect=True)
def test_the_keyboard_moves_the_slider(lesson):
    handle = lesson.locator(".noUi-handle").first
    picture = lesson.locator(".jupyter-widgets img").first
    before, value = settled(lesson), handle.get_attribute("aria-valuenow")
    handle.focus()
    for _ in range(4):
        lesson.keyboard.press("ArrowLeft")
    expect_change(lesson, picture, before)
    assert handle.get_attribute("aria-valuenow") != value
    assert not lesson.errors


def test_a_choice_from_a_list_changes_the_picture(lesson):
    chooser = lesson.locator(".widget-dropdown select").first
    picture = lesson.locator(".jupyter-widgets img").first
    before = settled(lesson)
    chooser.scroll_into_view_if_needed()
    chooser.select_option(index=1)
    expect_change(lesson, picture, before)
    look(lesson)
    assert not lesson.errors


@pytest.mark.parametrize("lesson", [*TYPED], indirect=True)
def test_a_sentence_that_is_typed_is_answered(lesson):
    field = lesson.locator(".jupyter-widgets input[type=text]").first
    picture = lesson.locator(".jupyter-widgets img").first
    before = settled(lesson)
    field.fill(TYPED[lesson.lesson], timeout=15_000)
    field.press("Enter")
    expect_change(lesson, picture, before)
    look(lesson)
    assert not lesson.errors


@pytest.mark.parametrize("lesson", ["03_transformer"], indirect=True)
def test_a_sentence_that_is_typed_is_explored(lesson):
    lesson.evaluate(
        """async () => {
            const {content} = window.jupyterapp.shell.currentWidget;
            const asks = cell => cell.model.sharedModel.source.includes('def atlas(');
            const place = content.widgets.findIndex(asks);
            await content.scrollToItem(place, 'center');
        }"""
    )
    titles = lesson.locator(".explorer h2")
    titles.first.wait_for()
    field = lesson.locator(".jupyter-widgets input[type=text]").last
    field.fill("Two birds flew over a red house.", timeout=15_000)
    field.press("Enter")
    lesson.locator(".explorer h2", has_text="Two birds flew").wait_for()
    assert titles.count() == 1
    lesson.locator(".explorer").scroll_into_view_if_needed()
    lesson.screenshot(path=NOTEBOOKS.parent / "build" / "03_atlas.png")
    field.fill("word " * 600, timeout=15_000)  # longer than BERT reads
    field.press("Enter")
    lesson.get_by_text("this model reads 512 tokens at most").first.wait_for()
    assert not lesson.errors
