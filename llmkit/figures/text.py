"""Pictures of text on its way to a model: cut into tokens, laid in rows, labelled.

Source: Lesson 04.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Rectangle

from llmkit.figures.frame import BLUE, ORANGE, Picture, empty_axes, visible

MONO = "DejaVu Sans Mono"  # comes with matplotlib, so it is everywhere
TINTS = ("#cfe3f2", "#f7dcc8", "#ffffff")  # pale blue, pale orange, white
SHADES = ("#0072B2", "#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442")
FADED = "#777777"


def sieve(left: Mapping[str, float], what: str, title: str = "") -> Picture:
    """Draw what was left after each step, and in orange what the step took.

    left: name of a step to what was left after it, the first being what came in; what:
    the unit. A step that took nothing has a bar without orange.

    >>> sieve({"came in": 10, "too short": 7, "copies": 6}, "texts")
    <Picture: texts left; came in 10; too short took 3, 7 left; copies took 1, 6 left.>
    """
    names, values = list(left), list(left.values())
    size = (6.8, 0.36 * len(names) + 1.1)
    axes = empty_axes(size, f"{what} left", "", title)
    told = [f"{names[0]} {values[0]:,}"]
    for row, (name, value) in enumerate(left.items()):
        axes.barh(row, value, color=BLUE)
        lost = values[max(row - 1, 0)] - value
        if lost > 0:
            axes.barh(row, lost, left=value, color=ORANGE, hatch="///", ec="white")
        mark = f"−{lost:,}" if lost > 0 else f"{value:,}" if row == 0 else "0"
        axes.text(value + max(lost, 0), row, f" {mark}", va="center", size=8)
        told += [f"{name} took {lost:,}, {value:,} left"] if row else []
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1.1 * max(values))
    axes.invert_yaxis()
    return Picture(axes.figure, f"{title or f'{what} left'}; {'; '.join(told)}.")


def cuts(
    texts: Mapping[str, Sequence[str]], title: str = "", width: int = 66
) -> Picture:
    r"""Draw how texts are cut: a box around each token, line after line.

    texts: name to the tokens of the text. White space is made visible; a character that
    the font lacks is written as its bytes, \xe7 and so on. width: characters a line.

    >>> cuts({"English": ["the", " cat"], "half a dog": ["\\xf0", "\\x9f"]})
    <Picture: English, 2 tokens: the|␣cat; half a dog, 2 tokens: \xf0|\x9f.>
    """
    laid = {name: _lines([*map(_drawable, ts)], width) for name, ts in texts.items()}
    count = sum(map(len, laid.values()))
    height = 0.27 * count + 0.16 * len(laid) + (0.35 if title else 0.1)
    figure = Figure(figsize=(0.082 * (width + 12), height), layout="constrained")
    axes = figure.add_subplot(title=title)
    axes.axis("off")
    y, told = 0.0, []
    for name, lines in laid.items():
        axes.text(-0.7, y, name, ha="right", va="center", size=9, weight="bold")
        number = 0
        for line in lines:
            number = _draw_line(axes, line, y, number)
            y -= 1
        y -= 0.6
        shown = "|".join(map(visible, texts[name]))
        told.append(f"{name}, {len(texts[name])} tokens: {shown}")
    axes.set(xlim=(-12, width + 0.5), ylim=(y + 0.5, 0.8))
    return Picture(figure, f"{title + '; ' if title else ''}{'; '.join(told)}.")


def rows_of_documents(
    ways: Mapping[str, Sequence[Sequence[int]]], title: str = ""
) -> Picture:
    """Draw rows of a batch, each document in its own colour, padding grey and hatched.

    ways: name to rows (B, T), which hold the number of the document that each token
    belongs to, and -1 for padding.

    >>> rows_of_documents({"padded": [[0, 0, -1], [1, -1, -1]], "packed": [[0, 0, 1]]})
    <Picture: padded: 2 rows of 3, 50% padding; packed: 1 row of 3, 0% padding.>
    """
    figure = Figure(figsize=(7.2, 0.5), layout="constrained")
    panels = figure.subplots(1, len(ways), squeeze=False)[0]
    told, tallest = [], max(map(len, ways.values()))
    for axes, (name, rows) in zip(panels, ways.items()):
        numbers = np.asarray(rows)  # (B, T)
        for (row, column), number in np.ndenumerate(numbers):
            style = dict(fc=SHADES[number % len(SHADES)], ec="white")
            if number < 0:
                style = dict(fc="#eeeeee", ec="#999999", hatch="xxxx", lw=0)
            axes.add_patch(Rectangle((column, row), 1, 1, **style))
        for document in sorted(set(numbers[numbers >= 0].tolist())):
            _number(axes, numbers == document, document)
        height, length = numbers.shape
        axes.set(xlim=(0, length), ylim=(tallest, 0), xlabel="place in the row")
        axes.set_yticks([n + 0.5 for n in range(height)], range(height))
        share = f"{(numbers < 0).mean():.0%} padding"
        axes.set_title(f"{name}: {share}", fontsize=10)
        many = "rows" if height > 1 else "row"
        told.append(f"{name}: {height} {many} of {length}, {share}")
    panels[0].set_ylabel("row")
    figure.set_size_inches(7.2, 0.27 * tallest + 1.1)
    figure.suptitle(title)
    return Picture(figure, f"{title + '; ' if title else ''}{'; '.join(told)}.")


def token_table(
    rows: Mapping[str, Sequence[str]],
    faded: Mapping[str, Collection[int]] | None = None,
    marked: Mapping[str, Collection[int]] | None = None,
    title: str = "",
) -> Picture:
    """Draw rows of tokens below each other, so that inputs stand above their labels.

    rows: name to one token a place; faded: name to the places that do not count, drawn
    grey; marked: name to the places to look at, drawn in an orange frame.

    >>> token_table({"input": ["a", "b"], "label": ["b", "-100"]}, {"label": [1]})
    <Picture: input: a, b; label: b, -100 (grey: -100).>
    """
    faded, marked = faded or {}, marked or {}
    longest = max(len(visible(token)) for row in rows.values() for token in row)
    columns = max(map(len, rows.values()))
    wide = max(0.09 * longest + 0.16, 0.5)  # inches a column
    figure = Figure(
        figsize=(wide * columns + 1.9, 0.36 * len(rows) + (0.4 if title else 0.1)),
        layout="constrained",
    )
    axes = figure.add_subplot(title=title)
    axes.axis("off")
    told = []
    for y, (name, row) in enumerate(rows.items()):
        axes.text(-0.15, y + 0.5, name, ha="right", va="center", size=9, weight="bold")
        grey, frame = faded.get(name, ()), marked.get(name, ())
        for x, token in enumerate(row):
            _cell(axes, x, y, visible(token), x in grey, x in frame)
        tokens = [visible(token) for token in row]
        notes = {"grey": grey, "framed": frame}
        notes = [
            f"{k}: {', '.join(tokens[i] for i in v)}" for k, v in notes.items() if v
        ]
        told.append(
            f"{name}: {', '.join(tokens)}" + f" ({'; '.join(notes)})" * bool(notes)
        )
    axes.set(xlim=(-1.75 / wide, columns + 0.1), ylim=(len(rows) + 0.05, -0.05))
    return Picture(figure, f"{title + '; ' if title else ''}{'; '.join(told)}.")


def _cell(axes: Axes, x: int, y: int, text: str, grey: bool, frame: bool) -> None:
    edge = dict(ec=ORANGE, lw=2.2, zorder=3) if frame else dict(ec="#bbbbbb", lw=0.8)
    fill = "#f2f2f2" if grey else "#fdeee4" if frame else "white"
    axes.add_patch(Rectangle((x + 0.04, y + 0.08), 0.92, 0.84, fc=fill, **edge))
    ink = dict(color=FADED if grey else "black", size=8.5, zorder=4)
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", family=MONO, **ink)


def _number(axes: Axes, where: np.ndarray, document: int) -> None:
    """Write the number of a document on its first cell."""
    row, column = np.argwhere(where)[0]
    white = document % len(SHADES) in (0, 3, 4)
    style = dict(ha="center", va="center", size=7, color="white" if white else "black")
    axes.text(column + 0.5, row + 0.5, str(document), **style)


def _lines(tokens: Sequence[str], width: int) -> list[list[str]]:
    """Break tokens into lines of at most so many characters."""
    lines, room = [[]], width
    for token in tokens:
        if lines[-1] and len(token) > room:
            lines.append([])
            room = width
        lines[-1].append(token)
        room -= len(token)
    return lines


def _draw_line(axes: Axes, tokens: Sequence[str], y: float, number: int) -> int:
    """Draw a line of tokens, the first of which has this number; return the next."""
    x = 0
    for number, token in enumerate(tokens, start=number):  # noqa: B020
        style = dict(fc=TINTS[number % len(TINTS)], ec="#333333", lw=0.8)
        axes.add_patch(Rectangle((x, y - 0.42), len(token), 0.84, **style))
        middle = x + len(token) / 2
        text = token.replace("$", r"\$")
        axes.text(middle, y, text, ha="center", va="center", family=MONO, size=9)
        x += len(token)
    return number + 1


def _drawable(token: str) -> str:
    """Return a token as the font can write it."""
    shown = visible(token).replace(r"\$", "$")
    return "".join(c if _has(c) else _bytes(c) for c in shown)


def _bytes(character: str) -> str:
    return "".join(rf"\x{byte:02x}" for byte in character.encode())


@lru_cache(maxsize=4096)
def _has(character: str) -> bool:
    return get_font(findfont(MONO)).get_char_index(ord(character)) > 0
