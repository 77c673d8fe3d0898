"""Pictures: arrays in, a picture out. Every lesson.

Every picture is labelled, safe for colour-blind readers (blue and orange, different
line styles, the cividis map) and says in words what it shows, for whoever can't see it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from llmkit.figures.frame import (
    BLUE,
    COLOURS,
    DIVERGING,
    ORANGE,
    STYLES,
    Picture,
    empty_axes,
    visible,
)


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
    axes = empty_axes(size, x, y, title)
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
    axes = empty_axes((6.4, 3.0), "", y, title)
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
    cell = (side - 1.8) / len(keys)  # inches; cells are squares
    longest = max(len(visible(query)) for query in queries)  # its name stands beside
    size = (side + 0.8 + 0.08 * longest, cell * len(queries) + 1.8)
    axes = empty_axes(size, "key: is looked at", "query: looks", title)
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


def heatmap(
    values: Sequence[Sequence[float]],
    x: str,
    y: str,
    colour: str,
    title: str = "",
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    centred: bool = False,
    size: tuple[float, float] = (6.4, 3.4),
) -> Picture:
    """Draw a matrix as coloured cells, its first row on top.

    values: one row a list; x, y: what columns and rows are, with units; colour: what
    the values are; columns, rows: names in place of numbers; centred: white is zero,
    blue below and orange above it.

    >>> heatmap([[0, 1], [2, 3]], "column", "row", "size", rows=["a", "b"])
    <Picture: size by row and column; 2 rows, 2 columns; from 0 (a, 0) to 3 (b, 1).>
    """
    values = np.asarray(values, dtype=float)
    axes = empty_axes(size, x, y, title)
    far = np.abs(values).max() if centred else None
    limits = {"vmin": -far, "vmax": far, "cmap": DIVERGING} if centred else {}
    style = {"cmap": "cividis", "aspect": "auto", "interpolation": "nearest"} | limits
    axes.figure.colorbar(axes.imshow(values, **style), ax=axes, label=colour)
    names = [rows, columns]
    if columns is not None:
        axes.set_xticks(range(len(columns)), [visible(name) for name in columns])
    if rows is not None:
        axes.set_yticks(range(len(rows)), [visible(name) for name in rows])
    told = []
    for place in (values.argmin(), values.argmax()):
        at = np.unravel_index(place, values.shape)
        where = [str(i) if n is None else visible(n[i]) for n, i in zip(names, at)]
        told.append(f"{values[at]:.4g} ({', '.join(where)})")
    height, width = values.shape
    return Picture(
        axes.figure,
        f"{title or f'{colour} by {y} and {x}'}; {height} rows, {width} columns; "
        f"from {told[0]} to {told[1]}.",
    )


def dials(
    hands: Mapping[str, Sequence[tuple[float, float]]],
    names: Sequence[str],
    title: str = "",
) -> Picture:
    """Draw one dial a name, side by side; on each, every hand is an arrow.

    hands: name to one point (x, y) a dial, where the arrow ends. Angle 0 lies to the
    right, and angles grow against the clock, as in geometry.

    >>> dials({"hand": [(1, 0), (0, 1)]}, ["fast", "slow"])
    <Picture: fast: hand 0°; slow: hand 90°.>
    """
    side = min(1.5, 9 / len(names))
    figure = Figure(figsize=(side * len(names) + 1.4, side + 0.7), layout="constrained")
    figure.suptitle(title)
    points = np.array([list(ends) for ends in hands.values()], dtype=float)
    reach = np.hypot(points[..., 0], points[..., 1]).max() or 1.0
    ring = np.exp(1j * np.linspace(0, 2 * np.pi, 90)) * reach
    told = {name: [] for name in names}
    for at, axes in enumerate(figure.subplots(1, len(names), squeeze=False)[0]):
        axes.plot(ring.real, ring.imag, color="silver", lw=1)
        for i, (hand, ends) in enumerate(hands.items()):
            end, colour, style = ends[at], COLOURS[i % 6], STYLES[i % 6]
            axes.plot(*zip((0, 0), end), color=colour, ls=style, lw=2, label=hand)
            axes.plot(*end, color=colour, marker="o", ms=5)
            angle = np.degrees(np.arctan2(end[1], end[0]))
            told[names[at]].append(f"{hand} {round(angle) + 0}°")
        axes.set(xlim=(-1.15 * reach, 1.15 * reach), ylim=(-1.15 * reach, 1.15 * reach))
        axes.set_aspect("equal")
        axes.set_title(names[at], fontsize=9)
        axes.axis("off")
    if len(hands) > 1:
        lines_drawn = axes.get_legend_handles_labels()
        figure.legend(*lines_drawn, loc="outside right", frameon=False, fontsize=9)
    all_told = "; ".join(f"{name}: {', '.join(what)}" for name, what in told.items())
    return Picture(figure, f"{title + '; ' if title else ''}{all_told}.")


def _from_to(xs: Sequence[float], ys: Sequence[float]) -> str:
    if not len(xs):
        return "empty"
    first, last = f"{ys[0]:.4g} at {xs[0]:.4g}", f"{ys[-1]:.4g} at {xs[-1]:.4g}"
    return f"from {first} to {last}"
