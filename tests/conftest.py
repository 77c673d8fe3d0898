"""What all tests share: skips that are loud, a home of their own, and two workers."""

import os
import shutil
import signal
import sys
import tempfile

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.hookimpl(tryfirst=True)  # xdist reads what this sets
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the fast tests of a whole run among two workers, unless told otherwise.

    The slow ones start processes, time pages, and want the machine to themselves.
    """
    told = config.option
    if hasattr(config, "workerinput") or told.markexpr != "not slow":
        return
    plain = not (told.usepdb or told.collectonly or told.keyword)
    if plain and config.args_source.name != "ARGS" and told.numprocesses is None:
        told.numprocesses, told.dist = 2, "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    """Keep the learner's own progress out of reach, for doctests and kernels too."""
    # A shell that runs this in the background makes it deaf to Ctrl-C, children too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):  # two workers share the cores as they are
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    home = tempfile.TemporaryDirectory(prefix="llmkit-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["LLMKIT_HOME"] = home.name


def need(found: object, what: str, install: str) -> None:
    """Skip a test whose tool is missing, and say how to get it; in CI, fail instead.

    Only for what .ci/run installs: there nothing of it may go untested unseen.
    """
    if found:
        return
    message = f"{what} is missing: {install}"
    if os.environ.get("CI"):
        pytest.fail(f"{message} (.ci/run should have)", pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Return the Chromium of this machine, for Playwright's executable_path."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    need(path, "Chromium", "apt install chromium")
    return path


@pytest.fixture(autouse=True)
def _no_process_is_left():
    """End what a test that failed has started: it would slow down all others."""
    yield
    if helpers := sys.modules.get("helpers"):
        helpers.end_what_was_started()
