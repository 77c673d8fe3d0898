"""Show how far a run is, in the way that suits where it is watched.

A terminal gets one bar; JupyterLab gets one bar without a widget, so that the saved
notebook still shows it; a log (papermill, a pipe, CI) gets a plain line now and then.
"""

import html
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

# What executes notebooks: as a command, or after `python -m`.
PROGRAMS = {"papermill", "nbconvert", "jupyter-nbconvert", "jupyter-execute"}


def show_progress(steps: Iterable, every: float = 10.0) -> Iterator:
    """Pass on each step of `fit` and show the last one meanwhile.

    every: seconds between the plain lines of a log.

    >>> from llmkit.training import Step
    >>> for step in show_progress([Step(1, 2.5, 0.1, 64, 0.5, 1.0)]):
    ...     pass
    step 1 (100%) · loss 2.500 · 128 tokens/s · 0 s left
    """
    show = step = None
    try:
        for step in steps:
            if step.note:  # only a first step has one: no bar is torn
                print(f"Note: {step.note}", flush=True)
            show = show or _notebook() or _terminal() or _log(every)
            show(step, False)
            yield step
    finally:  # also after Ctrl-C, so that what is said next has its own line
        if show:
            show(step, True)


def describe(step) -> str:
    """Put one step into one line.

    >>> from llmkit.training import Step
    >>> describe(Step(5, 2.0, 0.1, 640, 4.0, 0.5, 1.9))
    'step 5 (50%) · loss 2.000 · validation 1.900 · 160 tokens/s · 4 s left'
    """
    left = step.seconds * (1 / step.progress - 1) if step.progress else 0.0
    known = "" if step.val_loss is None else f" · validation {step.val_loss:.3f}"
    speed = step.tokens / step.seconds if step.seconds else 0.0
    unit = getattr(step, "unit", "tokens")
    return (
        f"step {step.number} ({step.progress:.0%}) · loss {step.loss:.3f}{known} · "
        f"{speed:,.0f} {unit}/s · {left:.0f} s left"
    )


def watched_by_papermill() -> bool:
    """Tell whether a program, not a person, runs this notebook."""
    import psutil

    if os.environ.get("LLMKIT_HEADLESS", "0") not in ("", "0"):
        return True
    parent = psutil.Process().parent()
    try:
        command = parent.cmdline() if parent else []
    except psutil.Error:
        return False
    return any(Path(word).stem in PROGRAMS for word in command[:3])


def _notebook():
    """Return a drawer for a live notebook, or None elsewhere."""
    if "ipykernel" not in sys.modules or watched_by_papermill():
        return None
    from IPython import get_ipython
    from IPython.display import HTML, display

    if get_ipython() is None:
        return None
    handle, last = display(HTML(""), display_id=True), [0.0]

    def show(step, final: bool) -> None:
        if final or time.monotonic() - last[0] > 0.3:
            last[0] = time.monotonic()
            line = html.escape(describe(step))
            bar = f'<progress max="1" value="{step.progress:.3f}">{line}</progress>'
            handle.update(HTML(f"{bar} <code>{line}</code>"))

    return show


def _terminal():
    """Return a drawer for a terminal, or None elsewhere."""
    if "ipykernel" in sys.modules or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar = tqdm(
        total=100,
        bar_format="{percentage:3.0f}%|{bar}| {desc}",
        miniters=0,  # the line moves even where the percentage stands still
        ncols=shutil.get_terminal_size().columns,  # 80 where a terminal won't say
    )

    def show(step, final: bool) -> None:
        bar.set_description_str(describe(step), refresh=False)
        bar.update(round(100 * step.progress) - bar.n)
        if final:
            bar.refresh()
            bar.close()

    return show


def _log(every: float):
    last = [time.monotonic()]

    def show(step, final: bool) -> None:
        if final or time.monotonic() - last[0] > every:
            last[0] = time.monotonic()
            print(describe(step), flush=True)

    return show
