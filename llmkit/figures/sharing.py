"""Pictures of work that is shared: who holds which piece, and what fills a device.

Source: Lesson 08.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from llmkit.figures.frame import BLUE, COLOURS, ORANGE, Picture, empty_axes

# What a rank may have of a piece, as `llmkit.planning.moments` counts it.
STATES = (
    ("not there", dict(fc="white", ec="silver")),
    ("its own, to keep", dict(fc=BLUE, ec="white")),
    ("gathered for now", dict(fc="#56B4E9", ec="white", hatch="....")),
    ("of its own rows only", dict(fc=ORANGE, ec="white", hatch="////")),
    ("not yet updated", dict(fc="#8c8c8c", ec="white", hatch="xxxx")),
)
HATCHES = ("", "//", "..", "\\\\", "xx", "oo", "--")


def shards_picture(
    held: Mapping[str, Sequence[Sequence[Sequence[int]]]],
    notes: Sequence[str],
    title: str = "",
) -> Picture:
    """Draw which rank holds which piece of what: a row a rank, a panel a kind.

    held: kind to codes (ranks, blocks, pieces), places in `STATES`; notes: what stands
    beside each rank.

    Raises: ValueError unless there is a note for each rank, and all codes are known.

    >>> shards_picture({"weights": [[[1, 0]], [[0, 1]]]}, ["a", "b"], "cut in two")
    <Picture: cut in two; rank 0: weights 1 of 2 pieces (a); rank 1: weights 1 of 2
    pieces (b).>
    """
    grids = {kind: np.asarray(grid) for kind, grid in held.items()}
    ranks, told = len(notes), [[] for _ in notes]
    figure = Figure(figsize=(8.6, 0.34 * ranks + 1.9), layout="constrained")
    panels = figure.subplots(1, len(grids), squeeze=False, sharey=True)[0]
    for axes, (kind, grid) in zip(panels, grids.items()):
        if grid.ndim != 3 or len(grid) != ranks or grid.min() < 0:
            raise ValueError(
                f"{ranks} notes need codes ({ranks}, blocks, pieces), from 0 to "
                f"{len(STATES) - 1}: got {kind} {grid.shape}"
            )
        _panel(axes, grid, kind)
        for rank, pieces in enumerate(grid):
            told[rank].append(f"{kind} {(pieces > 0).sum()} of {pieces.size} pieces")
    panels[0].set_yticks(range(ranks), [f"rank {rank}" for rank in range(ranks)])
    panels[-1].set_ylim(ranks - 0.5, -0.5)
    for rank, note in enumerate(notes):
        panels[-1].annotate(
            note, (1.02, rank), xycoords=("axes fraction", "data"), va="center", size=9
        )
    figure.suptitle(fill(title, 88), fontsize=10.5)
    marks = [Patch(label=name, **style) for name, style in STATES]
    where = dict(loc="outside lower center", ncols=len(marks), frameon=False)
    figure.legend(handles=marks, fontsize=8.5, **where)
    words = [
        f"rank {rank}: {', '.join(parts)} ({note})"
        for rank, (parts, note) in enumerate(zip(told, notes))
    ]
    return Picture(figure, f"{title + '; ' if title else ''}{'; '.join(words)}.")


def _panel(axes: Axes, grid: np.ndarray, kind: str) -> None:
    """Draw the codes (ranks, blocks, pieces) of one kind; like pieces in one bar."""
    _, blocks, pieces = grid.shape
    for rank, row in enumerate(grid):
        for block, codes in enumerate(row):
            ends = [0, *np.flatnonzero(np.diff(codes)) + 1, pieces]
            for start, end in pairwise(ends):
                style = STATES[codes[start]][1]
                left, width = block + start / pieces, (end - start) / pieces
                axes.barh(rank, width, 0.8, left=left, lw=0.6, **style)
    for cut in range(1, blocks):
        axes.axvline(cut, color="black", lw=0.8)
    axes.set(xlim=(0, blocks), title=kind)
    axes.set_xticks(np.arange(blocks) + 0.5, [f"block {b + 1}" for b in range(blocks)])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def stacked(
    bars: Mapping[str, Mapping[str, float]],
    y: str,
    title: str = "",
    level: tuple[str, float] | None = None,
) -> Picture:
    """Draw one bar a name, made of parts on top of each other.

    bars: name to (part to height), the same parts in each; y: what heights measure,
    with units; level: name and height of a dashed line. Its sum stands on each bar.

    Raises: ValueError if the bars differ in their parts.

    >>> stacked({"ddp": {"weights": 1, "averages": 2}}, y="GB", level=("room", 80))
    <Picture: GB; ddp 3 (weights 1, averages 2); room: 80.>
    """
    parts = list(next(iter(bars.values()), {}))
    if any(list(own) != parts for own in bars.values()):
        raise ValueError(f"every bar needs the same parts: {', '.join(parts)}")
    axes = empty_axes((7.6, 3.6), "", y, title)
    places, bottom = np.arange(len(bars)), np.zeros(len(bars))
    for i, part in enumerate(parts):
        heights = np.array([own[part] for own in bars.values()], dtype=float)
        style = dict(color=COLOURS[i % 6], hatch=HATCHES[i % 7], edgecolor="white")
        axes.bar(places, heights, 0.7, bottom=bottom, label=part, lw=0, **style)
        bottom += heights
    for place, total in zip(places, bottom):
        axes.text(place, total, f"{total:.3g}", ha="center", va="bottom", size=9)
    if level:
        line = dict(color="black", ls=(0, (4, 3)), lw=1.2)
        axes.axhline(level[1], label=f"{level[0]}: {level[1]:.3g}", **line)
    top = max(bottom.max(initial=0), level[1] if level else 0)
    axes.set_ylim(0, 1.1 * top or 1)
    axes.set_xticks(places, list(bars))
    axes.figure.legend(fontsize=9, frameon=False, loc="outside right upper")
    told = []
    for (name, own), total in zip(bars.items(), bottom):
        inside = ", ".join(f"{part} {height:.3g}" for part, height in own.items())
        told.append(f"{name} {total:.3g} ({inside})")
    told += [f"{level[0]}: {level[1]:.3g}"] if level else []
    return Picture(axes.figure, f"{title or y}; {'; '.join(told)}.")


def histogram(
    values: Mapping[str, Sequence[float]],
    x: str,
    title: str = "",
    zones: Mapping[str, tuple[float, float]] | None = None,
    bins: int = 60,
) -> Picture:
    """Draw how often values occur, one outline a name, over shaded zones.

    values: name to numbers; x: what they measure; zones: name to (from, to) along x. A
    height is the share of a name's values.

    Raises: ValueError if there is no value to draw.

    >>> histogram({"a": [-3, -2, -2, 1]}, "log₂", zones={"lost": (-9, -2.5)})
    <Picture: share of values by log₂; a: 4 values from -3 to 1, middle -2, 25% lost.>
    """
    arrays = {name: np.asarray(own, dtype=float) for name, own in values.items()}
    if not arrays or any(not own.size for own in arrays.values()):
        raise ValueError(f"each name needs a value to draw: got {list(values)}")
    axes = empty_axes((7.2, 3.4), x, "share of values", title)
    low, high = (f(f(own) for own in arrays.values()) for f in (min, max))
    edges, told = np.linspace(low, max(high, low + 1), bins), []
    shades = ("#f2d6c4", "#dfe8ef", "#f4f4f4")
    for i, (name, (start, end)) in enumerate((zones or {}).items()):
        start, end = max(start, low - 1), min(end, high + 1)
        if start < end:
            axes.axvspan(start, end, color=shades[i % 3], label=name, zorder=0)
    for i, (name, own) in enumerate(arrays.items()):
        weights = np.full(own.size, 1 / own.size)
        style = dict(histtype="step", lw=1.8, color=COLOURS[i % 6], label=name)
        axes.hist(own, edges, weights=weights, ls=("-", "--", ":")[i % 3], **style)
        parts = [
            f", {((own >= a) & (own < b)).mean():.0%} {zone}"
            for zone, (a, b) in (zones or {}).items()
        ]
        told.append(
            f"{name}: {own.size:,} value{'s' * (own.size > 1)} from {own.min():.3g} to "
            f"{own.max():.3g}, middle {np.median(own):.3g}{''.join(parts)}"
        )
    axes.figure.legend(fontsize=9, frameon=False, loc="outside right upper")
    lead = title or f"share of values by {x}"
    return Picture(axes.figure, f"{lead}; {'; '.join(told)}.")
