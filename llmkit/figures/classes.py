"""Pictures of a classifier: what it confuses, how sure it is, what helps it.

Source: Lesson 07.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from llmkit.figures.frame import BLUE, COLOURS, ORANGE, STYLES, Picture, empty_axes
from llmkit.figures.words import plain_name

MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one more than colours: 42 pairs
Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]


def confusion_picture(
    counts: Sequence[Sequence[int]], names: Sequence[str], title: str = ""
) -> Picture:
    """Draw how often each class was taken for each, coloured by the share of its row.

    counts: (C, C), a row a true class, a column a guessed one. Up to 10 classes the
    numbers stand in the cells.

    Raises: ValueError unless there are counts for each pair of names.

    >>> confusion_picture([[9, 1], [4, 6]], ["bad", "good"])
    <Picture: bad: 9 of 10 right, 1 taken for good;
    good: 6 of 10 right, 4 taken for bad.>
    """
    counts = np.asarray(counts)  # (C, C)
    C = len(names)
    if counts.shape != (C, C):
        raise ValueError(f"{C} classes need counts {(C, C)}: got {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)  # (C, 1)
    shares = counts / np.maximum(totals, 1)  # (C, C)
    side = min(max(0.62 * C, 2.0), 6.5)
    plain = [plain_name(name, 18) for name in names]
    room = 0.08 * max(map(len, plain))
    axes = empty_axes((side + room + 1.7, side + 1.0 + room * (C > 3)), "", "", title)
    axes.set(xlabel="guessed class", ylabel="true class")
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    turn = dict(rotation=45, ha="right", rotation_mode="anchor") if C > 3 else {}
    axes.set_xticks(range(C), plain, **turn)
    axes.set_yticks(range(C), plain)
    if C <= 10:
        for (row, column), share in np.ndenumerate(shares):
            text = f"{counts[row, column]:,}" + (f"\n{share:.0%}" if C <= 4 else "")
            ink = "white" if share < 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=ink, size=9)
    axes.figure.colorbar(
        image, ax=axes, fraction=0.046, label="share of the true class"
    )
    told = []
    for row, (name, total) in enumerate(zip(names, totals[:, 0])):
        others = [c for c in np.argsort(-counts[row]) if c != row and counts[row, c]]
        taken = [f", {counts[row, c]:,} taken for {names[c]}" for c in others[:3]]
        told.append(f"{name}: {counts[row, row]:,} of {total:,} right{''.join(taken)}")
    return Picture(axes.figure, f"{title + '; ' if title else ''}{'; '.join(told)}.")


def calibration_picture(
    counts: Sequence[int],
    confidence: Sequence[float],
    accuracy: Sequence[float],
    error: float,
    title: str = "",
) -> Picture:
    """Draw how often a classifier is right when it is so sure: a reliability diagram.

    counts, confidence, accuracy: of M bins of equal width, how many examples, their
    mean confidence and the share that is right, not a number (nan) where a bin is
    empty; error: the expected calibration error. The gap between the two is hatched: on
    top of a bar there is too much confidence, inside it too little.

    Raises: ValueError if the three differ in length.
    Source: Guo et al. 2017, arXiv:1706.04599, figure 1. Lesson 07.

    >>> nan = float("nan")
    >>> calibration_picture([0, 4], [nan, 0.9], [nan, 0.75], 0.15)
    <Picture: calibration error 0.150; 0.90 sure, 0.75 right (4).>
    """
    counts, sure, right = (np.asarray(x, float) for x in (counts, confidence, accuracy))
    if not counts.shape == sure.shape == right.shape:
        raise ValueError(
            "counts, confidence and accuracy are one of each a bin: got "
            f"{len(counts)}, {len(sure)} and {len(right)}"
        )
    M, full = len(counts), counts > 0
    figure = Figure(figsize=(4.8, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles = (np.arange(M) + 0.5) / M
    bar = dict(width=0.94 / M, zorder=2)
    upper.bar(middles[full], right[full], color=BLUE, label="right", **bar)
    gap = dict(
        fc="none", ec=ORANGE, hatch="////", lw=1.2, label="gap to its confidence"
    )
    low, high = np.minimum(sure, right)[full], np.maximum(sure, right)[full]
    upper.bar(middles[full], high - low, bottom=low, **gap, **bar)
    upper.plot((0, 1), (0, 1), color="black", ls="--", lw=1.2, label="as it should be")
    upper.plot(sure[full], right[full], "D", color="black", ms=4, zorder=4)
    upper.set(ylabel="share right", ylim=(0, 1.02))
    upper.set_title(title or f"calibration error {error:.3f}", fontsize=11)
    upper.legend(frameon=False, fontsize=8.5, loc="upper left")
    lower.bar(middles, counts, color="#8c8c8c", **bar)
    for place, count in zip(middles[full], counts[full]):
        lower.text(place, count, f"{count:,.0f}", ha="center", va="bottom", size=7.5)
    lower.set(ylabel="examples", xlabel="confidence", xlim=(0, 1))
    lower.set_ylim(0, 1.25 * max(counts.max(initial=0), 1))
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    told = [f"{title}; " if title else "", f"calibration error {error:.3f}"]
    for s, r, n in zip(sure[full], right[full], counts[full]):
        told.append(f"; {s:.2f} sure, {r:.2f} right ({n:,.0f})")
    return Picture(figure, "".join(told) + ".")


def curve_picture(
    curves: Mapping[str, Curve],
    x: str,
    y: str,
    spread: str,
    title: str = "",
    log: str = "",
) -> Picture:
    """Draw one line a name through means, with bars that say how far they may be off.

    curves: name to (xs, means, reaches), where a bar goes from mean - reach to mean +
    reach; each has its own colour, style and marker. x, y: what the axes measure, with
    units; spread: what a bar is, such as "± 1 standard deviation, 5 seeds"; log: "x",
    "y" or "xy" for logarithmic axes. A mean that is not a number is left out.

    Raises: ValueError if xs, means and reaches differ in length.

    >>> curves = {"BERT": ([50, 800], [0.7, 0.9], [0.04, 0.01])}
    >>> curve_picture(curves, "examples", "accuracy", "± 1 sd", log="x")
    <Picture: accuracy by examples (± 1 sd); BERT: 0.7 ± 0.04 at 50, 0.9 ± 0.01 at 800.>
    """
    axes, told = empty_axes((7.6, 3.6), x, y, title), []
    for i, (name, curve) in enumerate(curves.items()):
        xs, means, reaches = (np.asarray(values, dtype=float) for values in curve)
        if not xs.shape == means.shape == reaches.shape:
            raise ValueError(
                f"xs, means and reaches are one of each a point: {name!r} has "
                f"{len(xs)}, {len(means)} and {len(reaches)}"
            )
        style = dict(color=COLOURS[i % 6], ls=STYLES[i % 6], marker=MARKERS[i % 7])
        label = plain_name(name, 32)
        axes.errorbar(xs, means, reaches, capsize=3, ms=5, label=label, **style)
        points = [
            f"{mean:.3g} ± {reach:.2g} at {at:g}"
            for at, mean, reach in zip(xs, means, reaches)
            if np.isfinite(mean)
        ]
        told.append(f"{name}: {', '.join(points) or 'no value'}")
    for axis in log:
        getattr(axes, f"set_{axis}scale")("log")
    measured = sorted({float(at) for xs, *_ in curves.values() for at in xs})
    if "x" in log and len(measured) <= 8:  # name the points, not the powers of ten
        axes.set_xticks(measured, [_short(at) for at in measured])
        axes.xaxis.set_minor_locator(NullLocator())
    beside = dict(loc="outside right upper", frameon=False, title_fontsize=8.5)
    axes.figure.legend(title=spread, fontsize=9, **beside)
    lead = f"{title or f'{y} by {x}'} ({spread})"
    return Picture(axes.figure, f"{lead}; {'; '.join(told)}.")


def _short(number: float) -> str:
    """Write a number in few characters: 1056, 0.25, 3.2e-05."""
    return min(f"{number:g}", f"{number:.2g}", key=len) if number < 1 else f"{number:g}"


def tag_picture(
    rows: Mapping[str, tuple[int, float, float, float]],
    level: tuple[str, float] | None = None,
    title: str = "",
) -> Picture:
    """Draw the accuracy of each kind of text, with its interval and how many there are.

    rows: tag to (n, accuracy, low, high); level: name and height of a dashed line, such
    as the accuracy of all texts.

    >>> tag_picture({"irony": (12, 0.5, 0.25, 0.75), "none": (60, 0.9, 0.8, 0.95)})
    <Picture: irony (12): 0.50, 0.25 to 0.75; none (60): 0.90, 0.80 to 0.95.>
    """
    axes = empty_axes(
        (6.4, 0.33 * len(rows) + 1.3), "accuracy and its interval", "", title
    )
    for row, (_, value, low, high) in enumerate(rows.values()):
        axes.plot((low, high), (row, row), color=BLUE, lw=2.5, solid_capstyle="butt")
        axes.plot(value, row, "o", color=BLUE, ms=7)
        axes.text(1.03, row, f"{value:.2f}", va="center", size=9)
    if level:
        label = f"{level[0]}: {level[1]:.2f}"
        axes.axvline(level[1], color="black", ls=(0, (4, 3)), lw=1.2, label=label)
        axes.figure.legend(frameon=False, fontsize=9, loc="outside lower center")
    labels = [f"{plain_name(tag)} ({n:,})" for tag, (n, *_) in rows.items()]
    axes.set_yticks(range(len(rows)), labels)
    axes.set(xlim=(0, 1.12), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xticks((0, 0.25, 0.5, 0.75, 1))
    told = [
        f"{tag} ({n:,}): {value:.2f}, {low:.2f} to {high:.2f}"
        for tag, (n, value, low, high) in rows.items()
    ]
    told += [f"{level[0]}: {level[1]:.2f}"] if level else []
    return Picture(axes.figure, f"{title + '; ' if title else ''}{'; '.join(told)}.")


def scatter_classes(
    points: Sequence[Sequence[float]],
    labels: Sequence[int],
    names: Sequence[str],
    x: str = "first direction",
    y: str = "second direction",
    title: str = "",
) -> Picture:
    """Draw points in the plane, each class with its own colour and shape.

    points: (N, 2); labels: (N,) class numbers; a large ring is the mean of a class.

    Raises: ValueError unless each point has two numbers and a label with a name.

    >>> scatter_classes([[0, 1], [2, 3], [4, 9]], [0, 0, 1], ["bad", "good"])
    <Picture: bad: 2 points around (1, 2); good: 1 point around (4, 9).>
    """
    points, labels = np.asarray(points, dtype=float), np.asarray(labels)  # (N, 2), (N,)
    if points.shape != (len(labels), 2):
        raise ValueError(
            f"{len(labels)} labels need points {(len(labels), 2)}: got {points.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(
            f"labels go from 0 to {len(names) - 1}, for {len(names)} names: got "
            f"{labels.min()} to {labels.max()}"
        )
    axes, told = empty_axes((6.8, 4.2), x, y, title), []
    for i, name in enumerate(names):
        own = points[labels == i]
        if len(own):
            _scatter(axes, own, i, plain_name(name))
        many = f"{len(own):,} point{'' if len(own) == 1 else 's'}"
        middle = ", ".join(f"{value:.3g}" for value in own.mean(0)) if len(own) else ""
        told.append(f"{name}: {many}" + (f" around ({middle})" if middle else ""))
    beside = dict(loc="outside right upper", frameon=False, markerscale=1.4)
    axes.figure.legend(fontsize=9, ncols=1 + (len(names) - 1) // 18, **beside)
    return Picture(axes.figure, f"{title + '; ' if title else ''}{'; '.join(told)}.")


def _scatter(axes: Axes, own: np.ndarray, number: int, label: str) -> None:
    """Draw the points (N, 2) of a class, and its mean as a ring."""
    colour, shape = COLOURS[number % 6], MARKERS[number % 7]
    clear = 0.75 if len(own) < 500 else 0.4
    style = dict(marker=shape, color=colour, alpha=clear, lw=0, label=label)
    axes.scatter(*own.T, s=18, **style)
    ring = dict(marker=shape, fc="white", ec=colour, lw=2, zorder=4)
    axes.scatter(*own.mean(axis=0), s=130, **ring)
