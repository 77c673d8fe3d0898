"""A text whose words are coloured by a score: what spoke for a class, what against.

Source: Lesson 07.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from llmkit.figures.frame import DIVERGING, Picture

SANS = "DejaVu Sans"  # comes with matplotlib, so it is everywhere
FONT = FontProperties(family=SANS, size=10.5)
GREY = "#6b6b6b"
WIDE, HIGH, GAP, EDGE = 520, 25, 7, 9  # points: a line, a space, the margin
MOST = 12  # words without a score in a row that are shown
DPI = 100  # as `Picture.png` draws
FAINT = 0.05  # of the largest score: not worth a line beneath


class _Piece(NamedTuple):
    """A word as it is drawn."""

    text: str
    score: float | None  # None: it was not read
    gap: float  # to the piece before it, in points
    width: float  # in points


def word_scores_picture(
    scores: Sequence[tuple[str, float]], target: str, text: str = "", title: str = ""
) -> Picture:
    """Draw words on a ground of orange, for a class, or of blue, against it.

    The larger the score, the stronger the colour; the line beneath a word is solid for
    the class and dotted against it. A script that runs to the left does so here. What
    the font lacks is drawn as its name in colons or as a box.

    scores: word and score in the order of the text; target: the class; text: where the
    words stand, so that a comma keeps to its word. What has no score there is grey.

    Raises: ValueError if the words do not stand in the text, in this order.
    Source: Lesson 07.

    >>> word_scores_picture([("Not", 1.5), ("bad", -0.5)], "positive", "Not bad!")
    <Picture: Not bad!; for positive: Not +1.50; against: bad -0.50; 1 word not read.>
    """
    text = text or " ".join(word for word, _ in scores)
    lines, leftward = _lines(list(_pieces(scores, text))), _leftward(text)
    top = EDGE + 18 * bool(title)
    height = top + HIGH * (len(lines) + 1) + EDGE
    figure = Figure(figsize=((WIDE + 2 * EDGE) / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-EDGE, WIDE + EDGE), ylim=(height, 0))  # a unit is a point
    axes.axis("off")
    axes.text(0, EDGE + 5, writable(title), size=11, va="center", parse_math=False)
    most = max((abs(score) for _, score in scores), default=0.0) or 1.0
    for row, line in enumerate(lines):
        _draw(axes, _visual(line, leftward), top + HIGH * (row + 0.5), most, leftward)
    if scores:
        _legend(axes, top + HIGH * (len(lines) + 0.6), plain_name(target), most)
    return Picture(figure, _told(scores, target, text, title))


def plain_name(name: str, most: int = 24) -> str:
    r"""Return a name as matplotlib can write it: on one line, short, no formula.

    >>> plain_name("costs $5"), plain_name("a" * 30, most=5)
    ('costs \\$5', 'aaaa…')
    """
    name = writable(" ".join(name.split())) or "∅"
    name = name if len(name) <= most else name[: most - 1] + "…"
    return name.replace("$", r"\$")


def writable(text: str) -> str:
    """Return a text without characters that the font lacks.

    >>> writable("good 👍🏽 猫")
    'good :thumbs up sign: ▯'
    """
    return "".join(c if _has(c) else _instead(c) for c in text)


def _spans(
    scores: Sequence[tuple[str, float]], text: str
) -> Iterator[tuple[int, int, float | None]]:
    """Yield where each word begins and ends, and what lies between words."""
    at = 0
    for word, score in scores:
        place = text.find(word, at)
        if place < 0:
            raise ValueError(
                f"the scores are of another text: {word!r} does not stand in "
                f"{text[at : at + 60]!r}"
            )
        yield at, place, None
        at = place + len(word)
        yield place, at, score
    yield at, len(text), None


def _pieces(scores: Sequence[tuple[str, float]], text: str) -> Iterator[_Piece]:
    """Yield each word with its score; of words without one, the first few in a row."""
    for start, end, score in _spans(scores, text):
        found = [(start, text[start:end])]
        if score is None:
            words = re.finditer(r"\S+", text[start:end])
            found = [(start + word.start(), word.group()) for word in words]
        for place, word in found[:MOST]:
            yield _piece(word, score, text[place - 1 : place].isspace())
        if len(found) > MOST:
            yield _piece(f"… and {len(found) - MOST:,} more words", None, True)


def _piece(word: str, score: float | None, spaced: bool) -> _Piece:
    """Measure a word; of one that is wider than a line, keep what fits."""
    shown, room = writable(word) or "▯", WIDE - _width("…")
    for place, character in enumerate(shown):
        room -= _width(character)
        if room < 0:
            shown = shown[:place] + "…"
            break
    return _Piece(shown, score, GAP if spaced else 1, _width(shown))


def _lines(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Break pieces into lines, between words rather than between word and comma."""
    lines, x = [[]], 0.0
    starts = [i for i, p in enumerate(pieces) if p.gap == GAP or i == 0]
    for start, end in zip(starts, [*starts[1:], len(pieces)]):
        together = pieces[start:end]
        wide = sum(p.gap + p.width for p in together)
        breaks = x + wide > WIDE >= wide
        for piece in together:
            if lines[-1] and (breaks or x + piece.gap + piece.width > WIDE):
                lines.append([])
                x, breaks = 0.0, False
            lines[-1].append(piece._replace(gap=piece.gap if x else 0))
            x += lines[-1][-1].gap + piece.width
    return lines


def _visual(line: list[_Piece], leftward: bool) -> list[_Piece]:
    """Return a line's pieces from left to right, whichever way they are read."""
    ordered = []
    for turned, run in groupby(line, lambda p: _leftward(p.text, leftward) != leftward):
        pieces = [*run]
        ordered += _flip(pieces) if turned else pieces
    return _flip(ordered) if leftward else ordered


def _flip(run: list[_Piece]) -> list[_Piece]:
    """Turn a run around; the gap before it stays before it."""
    gaps = [run[0].gap, *(piece.gap for piece in run[:0:-1])] if run else []
    return [piece._replace(gap=gap) for piece, gap in zip(run[::-1], gaps)]


def _leftward(text: str, default: bool = False) -> bool:
    """Tell by its first letter whether a text runs from right to left."""
    kinds = map(unicodedata.bidirectional, text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), default)


def _draw(
    axes: Axes, line: list[_Piece], y: float, most: float, leftward: bool
) -> None:
    x = WIDE - sum(p.gap + p.width for p in line) if leftward else 0.0
    for text, score, gap, width in line:
        x += gap
        if score is not None:
            _ground(axes, x, y, width, score / most)
        ink = "black" if score is not None else GREY
        style = dict(va="center", color=ink, fontproperties=FONT, parse_math=False)
        axes.text(x, y, text, **style)
        x += width


def _ground(axes: Axes, x: float, y: float, width: float, share: float) -> None:
    """Colour the ground of a word by its share, from -1 to 1, of the largest score."""
    colour = DIVERGING(0.5 + 0.4 * share)  # never so dark that black can't be read
    axes.add_patch(Rectangle((x - 0.5, y - 9), width + 1, 19, fc=colour, lw=0))
    if abs(share) >= FAINT:
        style = "-" if share > 0 else (0, (1, 1.5))
        axes.plot([x, x + width], [y + 10.5] * 2, c="black", ls=style, lw=1.2)


def _legend(axes: Axes, y: float, target: str, most: float) -> None:
    for x, share, word in ((0, 1.0, "for"), (WIDE / 2, -1.0, "against")):
        _ground(axes, x, y, 26, share)
        label = f"{word} {target} ({share * most:+.2f})"
        axes.text(x + 32, y, label, va="center", size=8.5, color=GREY)


def _told(
    scores: Sequence[tuple[str, float]], target: str, text: str, title: str
) -> str:
    """Say the text and its strongest words, those for the class and those against."""
    told = [title] if title else []
    told.append((text if len(text) <= 200 else text[:200] + "…") or "no words")
    strongest = sorted(scores, key=lambda pair: -abs(pair[1]))
    for name, sign in ((f"for {target}", 1), ("against", -1)):
        words = [f"{w} {s:+.2f}" for w, s in strongest if s * sign > 0][:8]
        told += [f"{name}: {', '.join(words)}"] if words else []
    grey = [text[a:b] for a, b, score in _spans(scores, text) if score is None]
    unread = sum(len(part.split()) for part in grey)
    told += [f"{unread:,} word{'s' if unread > 1 else ''} not read"] if unread else []
    return "; ".join(told) + "."


def _instead(character: str) -> str:
    """Return what to draw for a character that the font lacks."""
    kind = unicodedata.category(character)
    if kind in ("Mn", "Cf", "Sk"):  # it changes the one before it: a skin, a joiner
        return ""
    if kind == "So":
        return f":{unicodedata.name(character, 'symbol').lower()}:"
    return "▯"


@lru_cache(maxsize=4096)
def _has(character: str) -> bool:
    return get_font(findfont(SANS)).get_char_index(ord(character)) > 0


@lru_cache(maxsize=4096)
def _width(text: str) -> float:
    """Return how wide a text is drawn, in points, once its letters fit the pixels."""
    ink = RendererAgg(1, 1, DPI)
    return ink.get_text_width_height_descent(text, FONT, False)[0] * 72 / DPI
