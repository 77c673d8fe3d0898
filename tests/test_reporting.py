"""Check what a watcher sees: a log, a real terminal, a notebook."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import types

import pytest
from helpers import ROOT, finish, start

from llmkit.training import Step, describe, reporting, show_progress
from llmkit.training.reporting import watched_by_papermill

# The file alone, because its package brings torch along, which takes seconds.
LOAD = f"""
import runpy, sys, time, types
reporting = runpy.run_path({str(ROOT / "llmkit/training/reporting.py")!r})
"""
TALK = """
def make(n):
    values = dict(number=n, loss=2.0, tokens=64 * n, seconds=n / 10, val_loss=None)
    return types.SimpleNamespace(progress={progress}, note="", **values)
for _ in reporting["show_progress"](map(make, range(1, {count} + 1))):
    time.sleep({pause})
print("done")
"""


def step(number: int, of: int = 10, **changes) -> Step:
    """Make the step of a run that takes a tenth of a second each."""
    values = dict(loss=2.5, rate=0.1, tokens=64 * number, seconds=number / 10)
    return Step(number, progress=number / of, **values | changes)


def in_terminal(script: str, columns: int = 80) -> str:
    """Run a script with a real terminal for its errors; return what that shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=theirs, stdout=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown.decode()


def test_a_step_in_one_line():
    assert describe(step(4)) == ("step 4 (40%) · loss 2.500 · 640 tokens/s · 1 s left")
    assert "validation 1.250" in describe(step(4, val_loss=1.25))
    assert describe(step(10)).endswith("0 s left")
    describe(step(1, seconds=0.0)), describe(step(0))  # nothing is divided by zero


def test_a_log_gets_whole_lines_now_and_then(capsys, monkeypatch):
    now = iter(range(0, 1000, 4))  # seconds
    monkeypatch.setattr(reporting.time, "monotonic", lambda: float(next(now)))
    steps = [step(n) for n in range(1, 11)]
    assert list(show_progress(iter(steps), every=10.0)) == steps
    out, err = capsys.readouterr()
    assert [int(n) for n in re.findall(r"^step (\d+) ", out, re.M)] == [3, 6, 9, 10]
    assert "\r" not in out and "\x1b" not in out and not err


def test_the_last_step_is_shown_whatever_ends_it(capsys):
    def steps():
        yield step(1)
        yield step(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(show_progress(steps()))
    for _ in show_progress(iter([step(3), step(4)])):
        break
    assert re.findall("step .", capsys.readouterr().out) == ["step 2", "step 3"]
    assert list(show_progress([])) == [] and capsys.readouterr().out == ""


def test_what_the_watcher_should_know_comes_before_all(capsys):
    list(show_progress([step(4, note="step-00000004 is damaged"), step(5)]))
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Note: step-00000004 is damaged" and len(out) == 2


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("columns", [0, 60, 120])  # 0: it does not say
def test_a_terminal_gets_one_line_that_moves(columns):
    script = LOAD + TALK.format(count=20, progress="n / 20", pause=0.02)
    shown = in_terminal(script, columns)
    bar, done, end = shown.split("\n")
    assert done.strip() == "done" and end == ""
    states = [state for state in bar.split("\r") if state.strip()]
    assert len(states) > 3 and "100%" in states[-1] and "step 20" in states[-1]
    assert all(len(state) <= (columns or 80) for state in states)


@pytest.mark.slow
@pytest.mark.process
def test_the_line_moves_also_where_the_percentage_stands_still():
    leap = "0.5 + n / 10**6 if n > 1 else 0.0"  # tqdm would wait for another one
    script = LOAD + TALK.format(count=12, progress=leap, pause=0.12)
    assert len(set(re.findall(r"step \d+", in_terminal(script, 120)))) > 6


@pytest.mark.process
def test_a_pipe_gets_no_bar():
    script = LOAD + TALK.format(count=3, progress="n / 3", pause=0)
    code, out, err = finish(start("-c", script))
    assert (code, err) == (0, "")
    assert out.startswith("step 3 (100%)") and out.endswith("left\ndone\n")


class Notebook(types.ModuleType):
    """Stand in for IPython: keep what is displayed, and what replaces it."""

    def __init__(self):
        super().__init__("IPython")
        self.shown = []
        self.display, self.get_ipython = self.show, lambda: self

    def HTML(self, text):
        return text

    def show(self, text, display_id):
        assert display_id
        return self

    def update(self, text):
        self.shown.append(text)


def test_a_notebook_gets_one_output_that_is_updated(capsys, monkeypatch):
    notebook = Notebook()
    for name in ("ipykernel", "IPython", "IPython.display"):
        monkeypatch.setitem(sys.modules, name, notebook)
    monkeypatch.setattr(reporting, "watched_by_papermill", lambda: False)
    list(show_progress(step(n) for n in range(1, 11)))
    assert len(notebook.shown) < 5  # now and then, not each time
    assert 'value="1.000"' in notebook.shown[-1] and "step 10" in notebook.shown[-1]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(reporting, "watched_by_papermill", lambda: True)
    notebook.shown.clear()
    list(show_progress([step(1)]))
    assert notebook.shown == [] and capsys.readouterr().out.startswith("step 1 ")


@pytest.mark.process
def test_papermill_is_noticed_from_within(tmp_path, monkeypatch):
    ask = LOAD + "print(reporting['watched_by_papermill']())"
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}])"
    for name, expected in [("papermill", "True"), ("somebody", "False")]:
        (tmp_path / f"{name}.py").write_text(run)
        code, out, _ = finish(start(tmp_path / f"{name}.py"))
        assert (code, out.strip()) == (0, expected)
    monkeypatch.setenv("LLMKIT_HEADLESS", "1")
    assert watched_by_papermill()
