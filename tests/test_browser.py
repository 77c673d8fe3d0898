"""Open JupyterLab, run lesson 01, drag a slider, and see the picture change."""

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
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a copy of the lessons; give the address."""
    root = tmp_path_factory.mktemp("a learner")
    shutil.copytree(NOTEBOOKS, root / "notebooks")
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


@pytest.fixture(scope="module")
def lesson(lab, browser):
    """Open lesson 01 and choose Run All, as a learner does."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"{lab}/lab/tree/notebooks/01_attention.ipynb?token={TOKEN}")
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.sessionContext.ready;
            await window.jupyterapp.commands.execute('notebook:run-all-cells');
        }"""
    )
    return page


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


def test_a_dragged_slider_changes_the_picture(lesson):
    handle = lesson.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    picture = lesson.locator(".jupyter-widgets img").first
    before = picture.get_attribute("src")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lesson.mouse.move(x, y)
    lesson.mouse.down()
    lesson.mouse.move(x + 90, y, steps=6)
    lesson.mouse.up()
    lesson.wait_for_function(
        "before => document.querySelector('.jupyter-widgets img').src !== before",
        arg=before,
        timeout=20_000,
    )
    assert re.search(r"\w", picture.get_attribute("alt"))
    picture.scroll_into_view_if_needed()
    lesson.screenshot(path=NOTEBOOKS.parent / "build" / "slider.png")  # to look at


def test_the_keyboard_moves_the_slider(lesson):
    handle = lesson.locator(".noUi-handle").first
    picture = lesson.locator(".jupyter-widgets img").first
    before, value = picture.get_attribute("src"), handle.get_attribute("aria-valuenow")
    handle.focus()
    for _ in range(4):
        lesson.keyboard.press("ArrowLeft")
    lesson.wait_for_function(
        "before => document.querySelector('.jupyter-widgets img').src !== before",
        arg=before,
        timeout=20_000,
    )
    assert handle.get_attribute("aria-valuenow") != value
    assert not lesson.errors
