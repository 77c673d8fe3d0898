"""Controls: a loss that draws itself while it falls, and pictures to play with.

`play` adds controls to a picture and draws it again when they move.
"""

import html
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from llmkit.figures.frame import Picture, Stack
from llmkit.figures.pictures import lines


def live_loss(
    steps: Iterable,
    floor: tuple[str, float] | None = None,
    every: float = 2.0,
    y: str = "nats a token",
) -> Iterator:
    """Pass on each step of `fit` and keep a drawing of the loss up to date.

    floor: the name and height of the lowest loss there can be; every: seconds between
    drawings; y: what the loss is measured in. The last drawing stays in the saved
    notebook.
    """
    from IPython.display import HTML, display

    handle, drawn = display(HTML(""), display_id=True), 0.0
    seconds, losses, checked = [], [], {}

    def draw() -> None:
        curves = {"training": (seconds, _smooth(losses))}
        if checked:
            curves["validation"] = (list(checked), list(checked.values()))
        picture = lines(curves, "seconds of training", y, level=floor)
        handle.update(picture)

    for step in steps:
        seconds.append(step.seconds)
        losses.append(step.loss)
        if step.val_loss is not None:
            checked[step.seconds] = step.val_loss
        if time.monotonic() - drawn > every:
            draw()
            drawn = time.monotonic()
        yield step
    draw()


def play(draw: Callable[..., Picture], **controls) -> None:
    """Draw with the controls' first values, and again whenever one is moved.

    controls: an ipywidgets control for each argument of `draw`. Where no kernel listens
    (a saved notebook, a page on the web) the first picture stands there. What is no
    picture but a page with a script, an explorer, has an output of its own below the
    controls: a widget would not run the script.
    """
    import ipywidgets
    from IPython.display import display

    def drawn():
        return draw(**{name: control.value for name, control in controls.items()})

    first = drawn()
    is_picture = isinstance(first, Picture | Stack)
    shown = first._repr_html_() if is_picture else ""
    screen = ipywidgets.HTML(shown)

    def redraw(change) -> None:
        try:
            now = drawn()
            screen.value = now._repr_html_() if is_picture else ""
            if not is_picture:
                handle.update(now)
        except Exception:  # shown where the reader looks, and raised for the log
            screen.value = f"<pre>{html.escape(traceback.format_exc())}</pre>"
            raise

    for control in controls.values():
        control.observe(redraw, names="value")
    box = ipywidgets.VBox([*controls.values(), screen])
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    bundle = {
        "application/vnd.jupyter.widget-view+json": view,
        "text/html": shown or "<p>Run this cell, and its controls come alive.</p>",
        "text/plain": repr(first),
    }
    display(bundle, raw=True)
    handle = None if is_picture else display(first, display_id=True)


def slider(label: str, low: float, high: float, value: float, step: float = 0.05):
    """Make a slider with its name in full; whole numbers stay whole."""
    import ipywidgets

    whole = all(isinstance(number, int) for number in (low, high, value))
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(
        value=value,
        min=low,
        max=high,
        step=1 if whole else step,
        description=label,
        style={"description_width": "9em"},
        layout={"width": "28em"},
    )


def choice(label: str, options: Sequence):
    """Make a drop-down list; the first option is chosen."""
    import ipywidgets

    style = {"description_width": "9em"}
    return ipywidgets.Dropdown(options=options, description=label, style=style)


def _smooth(losses: list[float], window: int = 10) -> list[float]:
    """Average each value with those just before it."""
    sums = np.cumsum([0.0, *losses])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - window, 0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()
