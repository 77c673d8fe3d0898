"""Pictures and controls: arrays in, a picture out. Every lesson.

Every picture is labelled, safe for colour-blind readers (blue and orange, different
line styles, the cividis map) and says in words what it shows, for whoever can't see it.
`play` adds controls to a picture and draws it again when they move.
"""

import base64
import html
import io
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

BLUE, ORANGE = "#0072B2", "#D55E00"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))


@dataclass(frozen=True)
class Picture:
    """A drawn figure and the text for whoever can't see it.

    >>> Picture(Figure(), alt="an empty figure")
    <Picture: an empty figure>
    """

    figure: Figure
    alt: str

    def png(self, dpi: int = 100) -> bytes:
        """Return the picture as a PNG file."""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=dpi, facecolor="white")
        return file.getvalue()

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png()).decode()
        alt = html.escape(self.alt, quote=True)
        return (
            f'<img src="data:image/png;base64,{data}" alt="{alt}" '
            'style="max-width: 100%">'
        )

    def __repr__(self) -> str:
        return f"<Picture: {self.alt}>"


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    title: str = "",
    level: tuple[str, float] | None = None,
    log: str = "",
    size: tuple[float, float] = (6.4, 3.4),
) -> Picture:
    """Draw one line a name, each of its own colour and style.

    curves: name to (xs, ys); x, y: what the axes measure, with units; level: the name
    and height of a dashed line across; log: "x", "y" or "xy" for logarithmic axes.

    >>> lines({"double": ([1, 2], [2, 4])}, x="n", y="2n")
    <Picture: 2n by n; double: from 2 at 1 to 4 at 2.>
    """
    axes = _axes(size, x, y, title)
    for i, (name, (xs, ys)) in enumerate(curves.items()):
        style = STYLES[i % len(STYLES)]
        marker = "o" if len(xs) <= 12 else None
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(xs, ys, color=colour, ls=style, marker=marker, ms=4, label=name)
    if level:
        axes.axhline(level[1], color="black", ls=(0, (4, 3)), lw=1.2, label=level[0])
    for axis in log:
        getattr(axes, f"set_{axis}scale")("log")
    if len(curves) + bool(level) > 1:
        axes.legend(frameon=False, fontsize=9)
    told = [f"{name}: {_from_to(xs, ys)}" for name, (xs, ys) in curves.items()]
    told += [f"{level[0]}: {level[1]:.4g}"] if level else []
    return Picture(axes.figure, f"{title or f'{y} by {x}'}; {'; '.join(told)}.")


def bars(
    values: Mapping[str, float], y: str, title: str = "", highlight: Sequence[str] = ()
) -> Picture:
    """Draw one bar a name, those in `highlight` in orange and hatched.

    >>> bars({"a": 0.25, "b": 0.75}, y="probability")
    <Picture: probability; a 0.25, b 0.75.>
    """
    axes = _axes((6.4, 3.0), "", y, title)
    names = [visible(name) for name in values]
    drawn = axes.bar(range(len(names)), list(values.values()), color=BLUE)
    for bar, name in zip(drawn, values):
        if name in highlight:
            bar.set(color=ORANGE, hatch="//", edgecolor="white")
    axes.set_xticks(range(len(names)), names)
    told = ", ".join(f"{n} {v:.3g}" for n, v in zip(names, values.values()))
    return Picture(axes.figure, f"{title or y}; {told}.")


def attention_map(
    weights: Sequence[Sequence[float]],
    queries: Sequence[str],
    keys: Sequence[str] | None = None,
    title: str = "attention",
) -> Picture:
    """Draw who looks at whom: a row for each query, a column for each key.

    weights: (T, S), each from 0 to 1. Up to 10 tokens the numbers stand in the cells.

    >>> attention_map([[1.0, 0.0], [0.3, 0.7]], ["the", "cat"])
    <Picture: attention; the looks most at the (1.00); cat looks most at cat (0.70).>
    """
    weights = np.asarray(weights, dtype=float)  # (T, S)
    keys = queries if keys is None else keys
    if weights.shape != (len(queries), len(keys)):
        raise ValueError(
            f"a map of {len(queries)} queries and {len(keys)} keys needs weights "
            f"{(len(queries), len(keys))}: got {weights.shape}"
        )
    side = min(max(0.45 * len(keys) + 1.8, 3.4), 8)
    axes = _axes((side + 0.8, side), "key: is looked at", "query: looks", title)
    image = axes.imshow(weights, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(keys)), [visible(k) for k in keys], rotation=45)
    axes.set_yticks(range(len(queries)), [visible(q) for q in queries])
    if len(keys) <= 10:
        for (row, column), weight in np.ndenumerate(weights):
            dark = "white" if weight < 0.5 else "black"
            text = f"{weight:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=dark, size=7)
    axes.figure.colorbar(image, ax=axes, fraction=0.046, label="weight")
    told = [
        f"{visible(q)} looks most at {visible(keys[row.argmax()])} ({row.max():.2f})"
        for q, row in zip(queries, weights)
    ]
    return Picture(axes.figure, f"{title}; {'; '.join(told)}.")


def flow(stages: Sequence[tuple[str, str]], title: str = "") -> Picture:
    """Draw stages in a row, (name, what it holds), with arrows between them.

    >>> flow([("text", "a b"), ("ids", "0 1")])
    <Picture: text (a b) → ids (0 1).>
    """
    figure = Figure(figsize=(1.55 * len(stages), 1.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, len(stages) - 0.5), ylim=(-0.6, 0.6), title=title)
    axes.axis("off")
    box = dict(boxstyle="round,pad=0.5", facecolor="white", edgecolor=BLUE)
    for i, (name, what) in enumerate(stages):
        label = f"{name}\n{what}"
        axes.text(i, 0, label, ha="center", va="center", size=9, bbox=box)
        if i:
            arrow = dict(arrowstyle="->", color=ORANGE, lw=2)
            axes.annotate("", (i - 0.36, 0), (i - 0.64, 0), arrowprops=arrow)
    told = " → ".join(f"{name} ({' '.join(what.split())})" for name, what in stages)
    return Picture(figure, f"{title + ': ' if title else ''}{told}.")


def live_loss(
    steps: Iterable, floor: tuple[str, float] | None = None, every: float = 2.0
) -> Iterator:
    """Pass on each step of `fit` and keep a drawing of the loss up to date.

    floor: the name and height of the lowest loss there can be; every: seconds between
    drawings. The last drawing stays in the saved notebook.
    """
    from IPython.display import HTML, display

    handle, drawn = display(HTML(""), display_id=True), 0.0
    seconds, losses, checked = [], [], {}

    def draw() -> None:
        curves = {"training": (seconds, _smooth(losses))}
        if checked:
            curves["validation"] = (list(checked), list(checked.values()))
        picture = lines(curves, "seconds of training", "nats a token", level=floor)
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
    (a saved notebook, a page on the web) the first picture stands there.
    """
    import ipywidgets
    from IPython.display import display

    first = draw(**{name: control.value for name, control in controls.items()})
    screen = ipywidgets.HTML(first._repr_html_())

    def redraw(change) -> None:
        values = {name: control.value for name, control in controls.items()}
        try:
            screen.value = draw(**values)._repr_html_()
        except Exception:  # shown where the reader looks, and raised for the log
            screen.value = f"<pre>{html.escape(traceback.format_exc())}</pre>"
            raise

    for control in controls.values():
        control.observe(redraw, names="value")
    box = ipywidgets.VBox([*controls.values(), screen])
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    bundle = {
        "application/vnd.jupyter.widget-view+json": view,
        "text/html": first._repr_html_(),
        "text/plain": repr(first),
    }
    display(bundle, raw=True)


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


def visible(token: str) -> str:
    """Return a token with its white space made visible.

    >>> visible(" the"), visible("\\n")
    ('␣the', '↵')
    """
    marks = token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    return marks.replace("$", r"\$") or "∅"  # a dollar sign would start a formula


def _axes(size: tuple[float, float], x: str, y: str, title: str):
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _smooth(losses: list[float], window: int = 10) -> list[float]:
    """Average each value with those just before it."""
    sums = np.cumsum([0.0, *losses])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - window, 0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def _from_to(xs: Sequence[float], ys: Sequence[float]) -> str:
    if not len(xs):
        return "empty"
    first, last = f"{ys[0]:.4g} at {xs[0]:.4g}", f"{ys[-1]:.4g} at {xs[-1]:.4g}"
    return f"from {first} to {last}"
